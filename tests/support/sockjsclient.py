"""Clients of SockJS, one class for each way in which frames come: they show what was in them.

Used by tests through ``scene``.  They ask for what a test wants to be asked for and answer nothing by
themselves.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from pushpin_tw.wire.sockjs import html_beginning
from tests.support.rawclient import Answer, BodyReader, RawClient
from tests.support.wsclient import SocketClient
from tests.support.wspeer import CLOSE, TEXT
from tests.support.wsstage import SocketStage

CALLBACK = "_jp.a1"


class Talk:
    """One session, or one that is tried."""

    method = "POST"
    action: str
    """The last segment of the path."""

    def __init__(self, scene: SocketStage, session: str = "i", base: str = "/sj", query: str = "") -> None:
        self.scene = scene
        self.place = f"{base}/s/{session}/"
        self.query = query

    @property
    def target(self) -> str:
        """What is asked for to get frames."""
        return self.place + self.action + self.query

    async def ask(self, target: str, body: bytes | None = b"", *headers: str, method: str = "POST") -> Answer:
        """A request on a connection of its own, and its response."""
        client = await self.scene.ask(target, *headers, method=method, body=body)
        answer = await client.read_response()
        client.drop()
        return answer

    async def open(self) -> None:
        """The first frame says so."""
        assert await self.frame() == "o"

    async def listen(self) -> None:
        """From now on the proxy can send; done when this returns."""

    async def frame(self) -> str:
        """The next frame."""
        raise NotImplementedError

    async def messages(self) -> list[str]:
        """What is in the next frame."""
        frame = await self.frame()
        assert frame[0] == "a", frame
        found: list[str] = json.loads(frame[1:])
        return found

    async def closing(self) -> tuple[int, str]:
        """The next frame, or what stands for it, is that of the end: code and reason."""
        frame = await self.frame()
        assert frame[0] == "c", frame
        code, reason = json.loads(frame[1:])
        return code, reason

    async def say(self, *messages: str) -> None:
        """Send, by a request that is answered well."""
        answer = await self.send(json.dumps(messages).encode())
        assert (answer.status, answer.body) == (200, b"ok")

    async def send(self, body: bytes) -> Answer:
        """A request that sends."""
        return await self.ask(f"{self.place}xhr_send", body)

    def leave(self) -> None:
        """Go away without a word."""
        raise NotImplementedError


class Polls(Talk):
    """A request for each frame."""

    action = "xhr"
    end = "\n"
    """What is behind a frame."""

    _poll: RawClient | None = None

    @property
    def held(self) -> RawClient:
        """The connection of the poll that waits."""
        assert self._poll is not None
        return self._poll

    async def poll(self) -> RawClient:
        """Ask for the next frame; whether there is one is not waited for."""
        body = b"" if self.method == "POST" else None
        self._poll = await self.scene.ask(self.target, method=self.method, body=body)
        return self._poll

    async def listen(self) -> None:
        if self._poll is None:
            await self.poll()
            await self.scene.proxy.settle()

    async def answer(self) -> Answer:
        """The response to the poll that waits, or to a new one."""
        client = self._poll or await self.poll()
        self._poll = None
        answer = await client.read_response()
        client.drop()
        return answer

    async def frame(self) -> str:
        answer = await self.answer()
        assert answer.status == 200, answer
        return self.unpack(answer.body.decode())

    def unpack(self, text: str) -> str:
        """The frame in a body."""
        assert text.endswith(self.end), text
        return text.removesuffix(self.end)

    def leave(self) -> None:
        self.held.drop()


class Scripts(Polls):
    """The same as scripts that call a function."""

    method = "GET"
    action = "jsonp"
    end = ");\n"

    def __init__(self, scene: SocketStage, session: str = "i", base: str = "/sj", query: str = "") -> None:
        super().__init__(scene, session, base, f"?c={CALLBACK}{query.replace('?', '&')}")

    def unpack(self, text: str) -> str:
        before = f"/**/{CALLBACK}("
        assert text.startswith(before), text
        frame: str = json.loads(super().unpack(text).removeprefix(before))
        return frame

    async def send(self, body: bytes) -> Answer:
        return await self.ask(f"{self.place}jsonp_send", b"d=" + quote(body).encode())


class Streams(Talk):
    """A response that carries many frames."""

    action = "xhr_streaming"
    prelude = "h" * 2048 + "\n"
    before = ""
    after = "\n"

    _client: RawClient
    _body: BodyReader | None = None

    async def body(self) -> BodyReader:
        """The response, with its prelude read."""
        if self._body is None:
            body = b"" if self.method == "POST" else None
            self._client = await self.scene.ask(self.target, method=self.method, body=body)
            self._body = self._client.body(await self._client.read_head())
            await self._body.expect(self.prelude.encode())
        return self._body

    async def frame(self) -> str:
        body = await self.body()
        await body.expect(self.before.encode())
        text = b""
        while not text.endswith(self.after.encode()):
            text += await body.read(1)
        return self.unpack(text.decode().removesuffix(self.after))

    def unpack(self, text: str) -> str:
        """The frame between ``before`` and ``after``."""
        return text

    def leave(self) -> None:
        self._client.drop()


class Events(Streams):
    """The same as events."""

    method = "GET"
    action = "eventsource"
    prelude = "\r\n"
    before = "data: "
    after = "\r\n\r\n"


class Pages(Streams):
    """The same as a page that never ends."""

    method = "GET"
    action = "htmlfile"
    before = "<script>\np("
    after = ");\n</script>\r\n"

    def __init__(self, scene: SocketStage, session: str = "i", base: str = "/sj", query: str = "") -> None:
        super().__init__(scene, session, base, f"?c={CALLBACK}{query.replace('?', '&')}")
        self.prelude = html_beginning(CALLBACK.encode()).decode()

    def unpack(self, text: str) -> str:
        assert "<" not in text
        frame: str = json.loads(text)
        return frame


class Framed(Talk):
    """Frames within a WebSocket."""

    action = "websocket"
    peer: SocketClient

    async def join(self) -> None:
        """Get the WebSocket."""
        self.peer = await self.scene.join(self.target)

    async def open(self) -> None:
        await self.join()
        await super().open()

    async def frame(self) -> str:
        message = await self.peer.read()
        assert message.kind == TEXT, message
        return message.data.decode()

    async def messages(self) -> list[str]:
        found = await super().messages()
        assert len(found) == 1
        return found

    async def closing(self) -> tuple[int, str]:
        message = await self.peer.read()
        assert message.kind == CLOSE, message
        return int.from_bytes(message.data[:2], "big"), message.data[2:].decode()

    async def say(self, *messages: str) -> None:
        self.peer.text(json.dumps(messages))

    def leave(self) -> None:
        self.peer.drop()


class Raw(Framed):
    """A WebSocket and nothing else."""

    def __init__(self, scene: SocketStage, session: str = "", base: str = "/sj", query: str = "") -> None:
        super().__init__(scene, session, base, query)
        self.place = f"{base}/"

    async def open(self) -> None:
        await self.join()

    async def messages(self) -> list[str]:
        return [await self.frame()]

    async def say(self, *messages: str) -> None:
        for message in messages:
            self.peer.text(message)


WAYS: dict[str, Any] = {
    "xhr": Polls,
    "jsonp": Scripts,
    "xhr_streaming": Streams,
    "eventsource": Events,
    "htmlfile": Pages,
    "framed": Framed,
    "raw": Raw,
}
"""All of them."""
