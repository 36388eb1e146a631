"""Several processes behind one address, as they run: what each death means, and the end of all."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from tests.support.child import PATIENCE, Command
from tests.support.running import free_port
from tests.support.workers import Crowd, Listener, eventually

Start = Callable[..., Crowd]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    places: list[Crowd] = []

    def start(more: str = "", count: int = 2) -> Crowd:
        places.append(Crowd(tmp_path, more, count))
        return places[-1]

    yield start
    for place in places:
        place.close()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_one_publish_reaches_the_clients_of_all_workers(start: Start) -> None:
    place = start()
    listeners = [*place.listen(12), Listener(place.unix)]
    place.listeners.append(listeners[-1])
    assert len(place.workers()) == 2
    for number in range(3):
        place.publish(number)
    for listener in listeners:
        assert listener.wait_for(b"item 2\n")
        assert listener.lines == [b"item 0", b"item 1", b"item 2"]


def test_a_worker_that_dies_takes_its_own_clients_along_and_is_replaced(start: Start) -> None:
    place = start()
    listeners = place.listen(16)
    place.publish(0)
    for listener in listeners:
        assert listener.wait_for(b"item 0\n")
    victim, other = place.workers()
    os.kill(victim, signal.SIGKILL)
    place.command.wait_for(r"worker \d has ended: .*signal 9")
    place.publish(1)
    stayed = [listener for listener in listeners if listener.wait_for(b"item 1\n")]
    assert 0 < len(stayed) < len(listeners)
    # Who comes while one is away waits for its successor, and nobody is refused.
    late = place.listen(8)
    place.publish(2)
    for listener in [*stayed, *late]:
        assert listener.wait_for(b"item 2\n")
    assert all(listener.lines == [b"item 0", b"item 1", b"item 2"] for listener in stayed)
    assert other in place.workers()
    assert len(place.workers()) == 2
    for _ in range(8):
        assert place.get() == 200


def test_the_end(start: Start, tmp_path: Path) -> None:
    place = start("drain_seconds=0.5")
    listeners = place.listen(8)
    workers = place.workers()
    place.command.signal(signal.SIGTERM)
    for listener in listeners:
        assert not listener.wait_for(b"never")
        assert listener.ended
    assert place.command.end() == 0
    assert not any(map(alive, workers))
    assert not os.path.exists(place.unix)


def test_without_a_parent_there_are_no_workers(start: Start) -> None:
    place = start()
    workers = place.workers()
    (listener,) = place.listen()
    place.command.signal(signal.SIGKILL)
    assert not listener.wait_for(b"never")
    eventually(lambda: not any(map(alive, workers)), "the end of the workers")


def test_routes_are_read_again_by_all(start: Start, tmp_path: Path) -> None:
    place = start()
    (tmp_path / "routes").write_text("* test\n")
    place.command.signal(signal.SIGHUP)
    hello = b"Hello from the Pushpin test handler!\n"

    def said() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/", timeout=PATIENCE) as answer:
            return bytes(answer.read())

    eventually(lambda: all(said() == hello for _ in range(12)), "the new routes everywhere")


def test_an_address_that_is_taken_stops_the_start(start: Start, tmp_path: Path) -> None:
    place = start()
    second = Command(tmp_path, "-m", "pushpin_tw.command", "--config=pushpin.conf", "-m")
    assert second.end() == 1
    assert any("Couldn't listen on" in line and str(place.port) in line for line in second.lines)
    second.close()
    assert place.get() == 200


def memory(pid: int) -> int:
    """KB that the process has for itself."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


LATE = 60


def test_a_worker_that_is_behind_makes_publishers_wait(start: Start) -> None:
    pull = f"tcp://127.0.0.1:{free_port()}"
    place = start(f"link_backlog=1000000\nhold_queue=1000\n[handler]\npush_in_spec={pull}")
    listeners = place.listen(10)
    stopped, _ = place.workers()
    os.kill(stopped, signal.SIGSTOP)
    try:
        before, number, status = memory(place.command.pid), 0, 200
        while status == 200:
            number += 1
            assert number < 1000
            status = place.publish(number, 100_000)
        assert status == 503
        with zmq.Context() as context, context.socket(zmq.PUSH) as push:
            push.connect(pull)
            padding = b"-" * 100_000
            for late in range(number, number + LATE):
                push.send(b'J{"channel":"demo","http-stream":{"content":"%sitem %d\\n"}}' % (padding, late))
            assert place.publish(0) == 503
            assert memory(place.command.pid) - before < 60_000
            os.kill(stopped, signal.SIGCONT)
            for listener in listeners:
                assert listener.wait_for(b"item %d\n" % (number + LATE - 1))
                assert listener.lines == [b"item %d" % each for each in range(1, number + LATE)]
    finally:
        os.kill(stopped, signal.SIGCONT)
    eventually(lambda: place.publish(0) == 200, "room for items")
