"""The GRIP library finds the inputs through the command socket (zeromq 3.6)."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import zmq
from gripcontrol import GripPubControl, HttpStreamFormat, WebSocketMessageFormat
from pubcontrol import Item
from twisted.internet.threads import deferToThread

from tests.support.commandscene import Commands
from tests.support.origin import ScriptedOrigin
from tests.support.stage import Start
from tests.support.waiting import until

case = pytest_twisted.ensureDeferred
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library


class Library(Commands):
    """Publishers that know one address."""

    def __init__(self, origin: ScriptedOrigin, start: Start, directory: Path) -> None:
        super().__init__(origin, start, directory)
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()
        self._zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._controls: list[Any] = []

    def control(self, *callback: Any, **entry: object) -> Any:
        """One of them; it asks for the others in a thread of its own."""
        config = {"control_zmq_uri": self.command, **entry}
        control = GripPubControl(config, *callback, zmq_context=self._zmq)
        self._controls.append(control)
        return control

    async def publish(self, control: Any, channel: str, *formats: Any) -> None:
        """Returns when the library has sent it."""
        await deferToThread(control.publish, channel, Item(list(formats)), blocking=True)

    async def hears(self, event: str, channel: str) -> None:
        """The library says so next."""
        await until(lambda: not self.told.empty(), f"{event} {channel}")
        assert self.told.get() == (event, channel)

    async def clear(self) -> None:
        for control in self._controls:
            await deferToThread(control.close)
        await deferToThread(self._zmq.destroy, linger=0)
        await super().clear()


@pytest_twisted.async_yield_fixture
async def library(start: Start, tmp_path: Path) -> AsyncIterator[Library]:
    scene = Library(await ScriptedOrigin.listen(), start, tmp_path)
    yield scene
    await scene.clear()


@case
async def test_zmq_143_pushes(library: Library) -> None:
    await library.begin()
    _, body = await library.listen()
    client, _ = await library.subscribed("ws")
    control = library.control()
    await library.publish(control, "c", HttpStreamFormat("hällo\n"))
    await body.expect("hällo\n".encode())
    await library.publish(control, "ws", WebSocketMessageFormat("hällo"))
    await client.expect_text("hällo")


@case
async def test_zmq_143_publishes_to_subscribers(library: Library) -> None:
    await library.begin(subscription_linger=0)
    control = library.control(lambda *told: library.told.put(told), require_subscribers=True)
    held, body = await library.listen()
    await library.hears("sub", "c")
    client, _ = await library.subscribed("ws")
    await library.hears("sub", "ws")
    await library.publish(control, "nobody", HttpStreamFormat("lost\n"))
    await library.publish(control, "c", HttpStreamFormat("hello\n"))
    await body.expect(b"hello\n")
    await library.publish(control, "ws", WebSocketMessageFormat("hello"))
    await client.expect_text("hello")
    await library.leave(held)
    await library.hears("unsub", "c")
