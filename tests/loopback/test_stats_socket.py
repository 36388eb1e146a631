"""The socket of statistics as a service (zeromq 0, 5.1)."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zmq
from twisted.internet import reactor

from pushpin_tw.errors import ConfigError
from pushpin_tw.stats.report import StatsSocket, make_outlet, make_tally, wants_figures
from pushpin_tw.testing.services import LentServices, config
from tests.support.waiting import turn, until

case = pytest_twisted.ensureDeferred


class House:
    """A socket that runs, and subscribers."""

    def __init__(self, spec: str, more: str = "") -> None:
        self.services = LentServices(reactor, config_text=f"[handler]\nstats_spec={spec}\n{more}\n")
        self.outlet = make_outlet(self.services)
        self.socket = StatsSocket(self.outlet, self.services)
        self._context: Any = zmq.Context()
        self._plain: list[Any] = []

    def subscriber(self, *topics: bytes, kind: int = zmq.SUB) -> Any:
        plain = self._context.socket(kind)
        plain.linger = 0
        plain.connect(self.socket.address)
        for topic in topics:
            if kind == zmq.SUB:
                plain.subscribe(topic)
            else:
                plain.send(b"\1" + topic)
        self._plain.append(plain)
        return plain

    async def wanted(self, *kinds: str) -> None:
        await until(lambda: self.outlet.wanted == set(kinds), f"{kinds}; it is {self.outlet.wanted}")

    def clear(self) -> None:
        if self.socket.running:
            self.socket.stopService()
        self.services.stop()
        self._context.destroy(linger=0)


@pytest_twisted.async_yield_fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(f"ipc://{tmp_path}/stats", "ipc_file_mode=600")
    house.socket.startService()
    yield house
    house.clear()
    await turn()


@case
async def test_who_wants_what(house: House) -> None:
    first = house.subscriber(b"sub ", b"conn ")
    await house.wanted("sub", "conn")
    second = house.subscriber(b"conn ")
    await turn()
    first.unsubscribe(b"conn ")
    first.unsubscribe(b"sub ")
    await house.wanted("conn")
    second.close()
    await house.wanted()
    house.subscriber(b"")
    await house.wanted("activity", "message", "conn", "sub", "report", "counts")


@case
async def test_packets_come_to_those_who_want_them(house: House) -> None:
    subs, all_of_it = house.subscriber(b"sub "), house.subscriber(b"")
    await house.wanted("activity", "message", "conn", "sub", "report", "counts")
    await until(lambda: house.socket.topics["sub"] == 2, "both")
    house.outlet.emit("conn", {"id": "a"})
    house.outlet.emit("sub", {"mode": "ws"})
    await until(lambda: bool(subs.poll(0)), "a packet")
    assert subs.recv().startswith(b"sub T")
    await until(lambda: bool(all_of_it.poll(0)), "a packet")
    assert all_of_it.recv().startswith(b"conn T")


@case
async def test_what_is_no_subscription_is_nothing(house: House) -> None:
    peer = house.subscriber(kind=zmq.XSUB)
    await until(lambda: peer.poll(0, zmq.POLLOUT) > 0, "a connection")
    for message in (b"", b"\2conn ", b"hello", b"\0sub ", b"\1sub "):
        peer.send(message)
    await house.wanted("sub")
    assert house.services.stats.failures == []


@case
async def test_files_and_addresses(house: House, tmp_path: Path) -> None:
    file = tmp_path / "stats"
    assert house.socket.address == f"ipc://{file}"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert ("info", f"zmq stats: ipc://{file}") in house.services.stats.notes
    house.socket.stopService()
    assert (house.socket.address, file.exists()) == ("", False)
    house.outlet.send(b"sub nobody")
    house.socket.startService()
    house.subscriber(b"sub ")
    await house.wanted("sub")


@case
async def test_a_port_of_any_number() -> None:
    house = House("tcp://127.0.0.1:*")
    house.socket.startService()
    assert house.socket.address.startswith("tcp://127.0.0.1:")
    house.clear()
    await turn()


@case
async def test_an_address_that_is_taken_ends_the_start(house: House) -> None:
    other = House(house.socket.address)
    with pytest.raises(ConfigError, match=r"stats_spec: cannot use .*/stats: Address already in use"):
        other.socket.startService()
    other.clear()
    await turn()


@case
async def test_without_an_address_there_is_no_socket() -> None:
    house = House("")
    house.socket.startService()
    assert house.socket.address == ""
    house.outlet.emit("conn", {})
    house.clear()
    await turn()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", False),
        ("[handler]\nstats_spec=ipc:///x", True),
        ("[handler]\ncommand_spec=ipc:///x", True),
        ("[handler]\nprometheus_port=1", True),
        ("[proxy]\nprometheus_port=1", True),
        ("[proxy]\nstats_spec=ipc:///x", False),
    ],
)
def test_who_wants_figures(text: str, wanted: bool) -> None:
    assert wants_figures(config(text)) is wanted


def test_a_tally_as_configured() -> None:
    text = "[handler]\nstats_spec=ipc:///x\n[global]\nstats_connection_ttl=8\n"
    services = LentServices(reactor, config_text=text)
    tally = make_tally(services, make_outlet(services), "2")
    assert tally.tells_connections
    assert (len(tally.connections.turns), tally.connections.name(1)) == (6, "connmgr:2-1")
    silent = LentServices(reactor, config_text=text + "stats_connection_send=false\n")
    assert not make_tally(silent, make_outlet(silent)).tells_connections
