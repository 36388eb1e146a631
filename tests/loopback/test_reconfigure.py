"""A changed configuration, read again by a running process (SIGHUP)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from pushpin_tw.config import Config, parse_config
from pushpin_tw.reconfigure import CHANGEABLE, SECTIONS, changes, merged
from tests.loopback.test_upgrade import Place, ask
from tests.support.service import ServiceProxy
from tests.support.waiting import until

BASE = "[runner]\nhttp_port=127.0.0.1:0\n"


def config(text: str) -> Config:
    return parse_config(BASE + text, "pushpin.conf", lambda path: "")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    yield place
    place.clear()


# ---- what differs ------------------------------------------------------------------------------------------


def test_differences_in_the_order_of_the_sections() -> None:
    old, new = config("[tw]\nhold_queue=5\n"), config("[global]\nrundir=x\n[proxy]\ndebug=true\n")
    assert changes(old, new) == [("global", "rundir"), ("proxy", "debug"), ("tw", "hold_queue")]
    assert changes(old, old) == []


def test_what_needs_a_restart_stays_as_it_is() -> None:
    old, new = config("[tw]\nhold_queue=5\n"), config("[global]\nrundir=x\n[proxy]\ndebug=true\n")
    result = merged(old, new)
    assert (result.global_.rundir, result.proxy.debug, result.tw.hold_queue) == ("run", True, 100)
    assert changes(result, new) == [("global", "rundir")]


def test_places_are_those_of_the_file() -> None:
    assert config("[tw]\nhold_queue=5\n").places["tw", "hold_queue"] == "pushpin.conf:4"


def test_keys_that_can_change_are_real() -> None:
    for section, name in CHANGEABLE:
        assert hasattr(getattr(config(""), SECTIONS[section]), name), name


# ---- in a service ------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_every_key_that_can_change_is_obeyed() -> None:
    proxy = await ServiceProxy.start(["* test"], {})
    service = proxy.service
    new = config(
        "log_level=1\nclient_maxconn=7\n"
        "[proxy]\ndebug=true\nlog_from=true\nset_x_forwarded_protocol=true\nsig_iss=me\n"
        "[handler]\nmessage_rate=10\nmessage_hwm=20\nconnection_subscription_max=3\n"
        "[tw]\nhold_queue=4\nhead_timeout=5\nsilence_timeout=6\nsocket_queue=70\ndrain_seconds=8\n"
        "publish_backlog=9\n"
    )
    service.reconfigure(merged(service.config, new))
    assert changes(service.config, new) and not set(changes(service.config, new)) & CHANGEABLE
    assert service.gateway.debug
    assert not service.lent.stats.wants_requests
    room, fanout = service.gateway.acceptor.room, service.broker.fanout
    assert (room.queue_limit, room.subscription_max) == (4, 3)
    assert (fanout._pace.limited, fanout._hwm, fanout._backlog) == (True, 20, 9)
    listeners = service.listeners
    assert (listeners._limit, listeners._sockets.limit, listeners.watch._silence) == (7, 70, 6)
    client = await proxy.client()
    await until(lambda: listeners.clients == 1, "the client")
    await proxy.advance(5.2)
    await client.closed()
    await proxy.stop()


# ---- in a process ------------------------------------------------------------------------------------------


def test_hup_changes_what_can_be_changed_and_names_what_cannot(place: Place) -> None:
    place.start()
    client = place.stream()
    (place.directory / "more").write_text("* test\na.example test\n")
    text = (place.directory / "pushpin.conf").read_text()
    text = text.replace("routesfile=routes", "routesfile=more").replace("proxy:1", "handler:1")
    (place.directory / "pushpin.conf").write_text(text.replace("rundir=run", "rundir=elsewhere"))
    os.kill(place.pid, signal.SIGHUP)
    place.command.wait_for("reloading$")
    place.command.wait_for(r"^\[WARN\].* pushpin\.conf:2: rundir: a change needs a restart$")
    place.command.wait_for(r"changed: log_level, routesfile$")
    place.command.wait_for("routes loaded with 2 entries$")
    ask(place.port, "/")
    place.command.wait_for(r"\[proxy\] GET http://127\.0\.0\.1:\d+/ -> test code=200")
    place.publish("still there")
    client.recv(65536)
    client.close()


def test_hup_with_a_configuration_that_is_wrong_changes_nothing(place: Place) -> None:
    place.start()
    place.configure(tw="hold_queue=x\ndrain_seconds=y")
    (place.directory / "routes").write_text("* test\na.example test\n")
    os.kill(place.pid, signal.SIGHUP)
    place.command.wait_for(r"^\[ERR\].* pushpin\.conf:\d+: hold_queue: expected an integer, not 'x'$")
    place.command.wait_for(
        r"^\[ERR\].* pushpin\.conf:\d+: drain_seconds: expected a number of seconds, not 'y'$"
    )
    place.command.wait_for(r"^\[ERR\].* pushpin\.conf: nothing is changed$")
    os.remove("pushpin.conf")
    os.kill(place.pid, signal.SIGHUP)
    place.command.wait_for(r"pushpin\.conf: cannot be read: No such file or directory$")
    place.configure(tw="drain_seconds=2")
    os.kill(place.pid, signal.SIGHUP)
    place.command.wait_for("changed: drain_seconds$")
