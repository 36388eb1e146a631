"""The listening sockets of all workers: opened, given by the process before, left to the one after."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.error import CannotListenError

from pushpin_tw.config import Config, parse_config
from pushpin_tw.descriptors import Descriptors, listener_name
from pushpin_tw.edge.doors import open_tcp, open_unix
from pushpin_tw.testing.services import RecordedStats
from pushpin_tw.workers.parent import Doors, Listening

Open = Callable[..., tuple[Doors, list[Listening]]]


@pytest.fixture
def opened() -> Iterator[Open]:
    all_places: list[list[Listening]] = []

    def open_doors(config: Config, count: int, given: Descriptors) -> tuple[Doors, list[Listening]]:
        doors = Doors(config, count, RecordedStats())
        places = doors.open(given)
        all_places.append(places)
        given.stop()
        return doors, places

    yield open_doors
    for places in all_places:
        for place in places:
            for _, skt in place:
                skt.close()


def configured(runner: str) -> Config:
    return parse_config(f"[runner]\n{runner}\n", "pushpin.conf", lambda path: "")


def port_of(skt: socket.socket) -> int:
    return int(skt.getsockname()[1])


def inodes(places: list[Listening]) -> set[int]:
    """What tells sockets apart, whatever descriptors they have."""
    return {os.fstat(skt.fileno()).st_ino for place in places for _, skt in place}


def test_every_worker_has_a_socket_of_its_own_at_the_same_port(opened: Open) -> None:
    doors, places = opened(configured("http_port=127.0.0.1:0"), 3, Descriptors())
    assert [[name for name, _ in place] for place in places] == [["http 127.0.0.1:0"]] * 3
    (port,) = {port_of(skt) for place in places for _, skt in place}
    assert doors.addresses == [("127.0.0.1", port)]
    assert len(inodes(places)) == 3


def test_a_port_that_strangers_use_is_not_shared_with_them(opened: Open) -> None:
    with open_tcp("127.0.0.1", 0, shared=True) as stranger, pytest.raises(CannotListenError):
        opened(configured(f"http_port=127.0.0.1:{port_of(stranger)}"), 2, Descriptors())


def test_nothing_stays_open_when_something_cannot_be_opened(opened: Open) -> None:
    with open_tcp("127.0.0.1", 0) as probe:
        free = port_of(probe)
    with open_tcp("127.0.0.1", 0) as taken, pytest.raises(CannotListenError):
        opened(configured(f"http_port=127.0.0.1:{free},127.0.0.1:{port_of(taken)}"), 2, Descriptors())
    open_tcp("127.0.0.1", free).close()


def given(config: Config, *sockets: socket.socket, owned: bool = False) -> Descriptors:
    """The sockets as those of the first address."""
    if config.runner.local_ports:
        name = listener_name("local", config.runner.local_ports[0])
    else:
        name = listener_name("http", config.runner.http_port[0])
    return Descriptors([(name, skt.dup().detach()) for skt in sockets], owned)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_sockets_that_are_given_are_used_and_others_join_them(opened: Open, count: int) -> None:
    config = configured("http_port=127.0.0.1:0")
    with open_tcp("127.0.0.1", 0, shared=True) as one:
        port = port_of(one)
        with open_tcp("127.0.0.1", port, shared=True) as two:
            doors, places = opened(config, count, given(config, one, two))
            assert doors.addresses == [("127.0.0.1", port)]
            assert {port_of(skt) for place in places for _, skt in place} == {port}
            assert len(inodes(places)) == count
            assert len(inodes(places) | inodes([[("one", one), ("two", two)]])) == count


def test_a_socket_that_was_opened_alone_is_shared(opened: Open) -> None:
    """Its process had no workers: nobody else can listen there."""
    config = configured("http_port=127.0.0.1:0")
    with open_tcp("127.0.0.1", 0) as alone:
        _, places = opened(config, 3, given(config, alone))
        assert inodes(places) == inodes([[("alone", alone)]])


@pytest.mark.parametrize("owned", [False, True])
def test_the_file_of_a_unix_socket_is_removed_by_who_owns_it(
    opened: Open, tmp_path: Path, owned: bool
) -> None:
    path = tmp_path / "clients"
    config = configured(f"local_ports={path}")
    with open_unix(str(path)) as skt:
        doors, places = opened(config, 2, given(config, skt, owned=owned))
        assert doors.addresses == [str(path)]
        assert inodes(places) == inodes([[("local", skt)]])
    doors.close()
    assert path.exists() is not owned


def test_the_file_of_a_unix_socket_stays_for_who_takes_over(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "clients"
    doors, _ = opened(configured(f"local_ports={path}"), 2, Descriptors())
    doors.forget_files()
    doors.close()
    assert path.exists()
    doors, _ = opened(configured(f"local_ports={tmp_path / 'others'}"), 2, Descriptors())
    doors.close()
    doors.close()
    assert not (tmp_path / "others").exists()
