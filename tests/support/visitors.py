"""Clients for soaks: each knows what it asked for and complains of whatever it may not be told.

Used beside ``tests.support.moody``, which says in the same words what the backend does.  A visitor never
waits: ``digest`` looks at what has come.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from dataclasses import dataclass, field
from random import Random

from tests.support.moody import chunked, content, mutated
from tests.support.rawclient import BodyReader, Head, RawClient, parse_head

ERROR = b"Error while proxying to origin.\n"
_TOKEN = re.compile(rb"\[([a-z]+-[0-9]+):([0-9]+):x*\]|~")
_ITEM = re.compile(rb"\[([a-z]+-[0-9]+):([0-9]+):x*\]")
_PATCHED = re.compile(rb'\{"i":"([a-z]+-[0-9]+):([0-9]+)","timeout":([0-9]+)\}')


@dataclass
class Said:
    """An item that was published; its number is its place."""

    channel: str
    response: str
    """Action of its ``http-response``, 'patch' for a send with a patch; '' when it has none."""
    stream: str
    """The same for its ``http-stream``."""


@dataclass
class Ask:
    """A request, and what may be answered."""

    number: int
    mood: str
    size: int
    channels: list[str]
    method: str = "GET"
    minor: int = 1
    keep_alive: bool = True
    expects: bool = False
    since: int = 0
    """How many items there were when it was made."""
    made_at: float = 0.0
    """By the service's clock."""
    joined: int | None = None
    """How many items there were when the stream's initial body had come."""
    heard: list[int] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    @property
    def may_fail(self) -> bool:
        """Whether the backend may have failed, so that a 502 or half an answer is all there is."""
        return self.mood in ("die", "garbage")

    @property
    def goes_on(self) -> bool:
        """Whether the connection can be used afterwards, for certain."""
        return self.keep_alive and bool(self.minor) and self.mood not in ("die", "garbage", "early")


class Visitor:
    """One connection and the requests made on it."""

    def __init__(self, client: RawClient, dice: Random, world: Soak, secure: bool) -> None:
        self.client = client
        self.secure = secure
        self.outbox = bytearray()
        """What it is about to send, in pieces."""
        self.expected: deque[Ask] = deque()
        self.ended = False
        """The server has announced that it closes."""
        self.wild = False
        """It does not know what it has asked for."""
        self.excused = False
        """It broke off, so that anything may be missing, but nothing may be wrong."""
        self.shaky = False
        """It went on asking although the connection might have been closed before."""
        self.slow = False
        """It has paused, so that items may have been dropped."""
        self.paused = False
        self.current: tuple[Head, BodyReader] | None = None
        self.idle_since = self.sent_at = world.now
        self._dice = dice
        self._world = world

    # ---- asking --------------------------------------------------------------------------------------------

    def ask(self, ask: Ask, route: str) -> None:
        """Put a request into the outbox."""
        dice = self._dice
        ask.since, ask.made_at = len(self._world.said), self._world.now
        target = f"/{route}/{ask.mood}/{ask.number}?size={ask.size}&channels={','.join(ask.channels)}"
        lines = [f"{ask.method} {target} HTTP/1.{ask.minor}", "Host: soak.example"]
        if not ask.keep_alive and ask.minor:
            lines.append("Connection: close")
        if ask.keep_alive and not ask.minor:
            lines.append("Connection: keep-alive")
        body = b""
        if ask.method == "POST":
            payload = content(ask.number, dice.choice((0, 1, 10, 3000, 9999, 10001, 30000)))
            lines.append(f"X-Sum: {zlib.crc32(payload)}")
            if ask.minor and dice.random() < 0.5:
                lines.append("Transfer-Encoding: chunked")
                body = chunked(dice, payload)
            else:
                lines.append(f"Content-Length: {len(payload)}")
                body = payload
            if ask.minor and body and dice.random() < 0.2:
                ask.expects = True
                lines.append("Expect: 100-continue")
        data = "\r\n".join([*lines, "", ""]).encode() + body
        if self.wild:
            data = mutated(dice, data)
        else:
            self.shaky = self.shaky or not self.steady
            self.expected.append(ask)
        self.outbox += data

    @property
    def careless(self) -> bool:
        """Whether it may wait in vain."""
        garbage = any(ask.mood == "garbage" for ask in self.expected)
        return self.wild or self.excused or self.shaky or garbage

    @property
    def served(self) -> bool:
        """Whether it waits for nothing."""
        return not self.expected and not self.ended

    @property
    def steady(self) -> bool:
        """Whether one more request will be answered, for certain."""
        return all(ask.goes_on for ask in self.expected)

    def send_some(self) -> None:
        """A part of the outbox, or all of it."""
        if not self.outbox or self.client.lost:
            return
        count = self._dice.choice((1, 10, 100, 3000, len(self.outbox), len(self.outbox)))
        self.client.send(bytes(self.outbox[:count]))
        del self.outbox[:count]
        self.sent_at = self._world.now

    def send_all(self) -> None:
        """The rest of the outbox."""
        if not self.client.lost:
            self.client.send(bytes(self.outbox))
            self.sent_at = self._world.now
        self.outbox.clear()

    # ---- being answered ------------------------------------------------------------------------------------

    def digest(self) -> None:
        """Look at what has come."""
        while self.client.unread or self.current is not None:
            if self.current is None and not self._begin():
                break
            if self.current is not None and not self._read_on():
                break
        if self.client.lost:
            self._closed()

    def _begin(self) -> bool:
        unread = self.client.unread
        end = unread.find(b"\r\n\r\n")
        assert end >= 0 or len(unread) < 20000, f"no response: {bytes(unread[:300])!r}"
        if end < 0:
            return False
        raw = self.client.take(end + 4)
        head = Head(raw, *parse_head(raw))
        assert not self.ended, f"came after the end: {raw!r}"
        assert self.wild or self.expected, f"nobody asked for {raw!r}"
        if head.status == 100:
            assert self.wild or self.expected[0].expects, raw
            return True
        _check_framing(head)
        reader = self.client.body(head)
        if not self.wild and self.expected[0].method == "HEAD":
            reader = _NoBody(self.client)
        self.current = head, reader
        if not self.wild:
            self._check_head(head, self.expected[0])
        return True

    def _check_head(self, head: Head, ask: Ask) -> None:
        ours = head.get("X-Number")
        assert head.version == f"HTTP/1.{ask.minor}"
        assert ours in (None, str(ask.number)) or ask.mood == "garbage", f"{head.raw!r} came for {ask}"
        if ask.mood in ("garbage", "die") or (ask.mood == "echo" and ask.method == "POST" and self.excused):
            return
        if ask.mood == "down":
            assert head.status == 502, head.raw
        elif ask.mood == "early":
            assert head.status == 413, head.raw
        elif ask.mood == "empty":
            assert head.status in (204, 304), head.raw
        else:
            assert head.status == 200, f"{head.raw!r} {bytes(self.client.unread[:200])!r} came for {ask}"

    def _read_on(self) -> bool:
        """More of a body; whether the response is complete."""
        assert self.current is not None
        head, reader = self.current
        data = reader.take()
        if not self.wild:
            self._hear(self.expected[0], data, head)
        if not reader.ended:
            return False
        self.current = None
        self.idle_since = self._world.now
        self.ended = not _persists(head)
        if not self.wild:
            self._finish(self.expected.popleft(), head, whole=True)
        return True

    def _hear(self, ask: Ask, data: bytes, head: Head) -> None:
        ask.body += data
        if ask.mood != "stream" or head.status != 200 or ask.method == "HEAD":
            return
        initial = content(ask.number, ask.size) + b"|"
        if len(ask.body) < len(initial):
            return
        if ask.joined is None:
            assert ask.body.startswith(initial), f"{bytes(ask.body[:200])!r} came for {ask}"
            ask.joined = len(self._world.said)
        at = len(initial)
        while (found := _TOKEN.match(ask.body, at)) is not None:
            at = found.end()
            if found[1] is not None:
                self._world.check_item(ask, found[1].decode(), int(found[2]), stream=True)
        del ask.body[len(initial) : at]

    def _finish(self, ask: Ask, head: Head, whole: bool) -> None:
        """The answer to ``ask`` is here, as a ``whole`` or broken off."""
        body = bytes(ask.body)
        if head.status == 502:
            assert ask.may_fail or ask.mood == "down", f"{body!r} came for {ask}"
            assert ERROR.startswith(body) or ask.method == "HEAD"
        elif ask.mood == "garbage" or ask.method == "HEAD" or ask.mood == "empty":
            pass
        elif ask.mood == "stream":
            rest = body[ask.size + 1 :]
            assert not rest, f"strange bytes in a stream: {rest[:100]!r}"
            if not (head.get("X-Plain") or self.slow or self.excused or self.shaky):
                self._world.check_stream(ask)
        elif ask.mood == "poll":
            self._check_poll(ask, body, head)
        elif ask.mood == "die":
            assert content(ask.number, ask.size).startswith(body) or body.startswith(
                b'{"timeout":%d' % ask.number
            )
        elif not (self.excused or self.shaky):
            assert body == content(ask.number, ask.size), f"{body[:200]!r} came for {ask}"

    def _check_poll(self, ask: Ask, body: bytes, head: Head) -> None:
        found = _ITEM.fullmatch(body) or _PATCHED.fullmatch(body)
        if found is None:
            assert body == b'{"timeout":%d}' % ask.number, f"{body!r} came for {ask}"
            assert head.get("X-Plain") or self._world.now >= ask.made_at + 20
            return
        if len(found.groups()) == 3:
            assert int(found[3]) == ask.number
        self._world.check_item(ask, found[1].decode(), int(found[2]), stream=False)

    def _closed(self) -> None:
        """The connection is gone: may it be?"""
        if self.wild or self.excused or self.shaky or self.ended:
            return
        if self.current is not None:
            ask, head = self.expected.popleft(), self.current[0]
            self.current = None
            assert ask.may_fail, f"{ask} broke off after {len(ask.body)} bytes of {head.raw!r}"
            return
        if self.expected and not self.slow:  # who sleeps does not know since when it was idle
            idle = (self._world.now if self.outbox else self.sent_at) - self.idle_since
            assert idle > self._world.patience, f"{self.expected[0]} was not answered"


class Soak:
    """What visitors want to know of the world."""

    patience = 40.0
    """Seconds for which an idle client may stay in any case."""

    def __init__(self) -> None:
        self.said: list[Said] = []

    @property
    def now(self) -> float:
        """The service's clock."""
        raise NotImplementedError

    def check_item(self, ask: Ask, channel: str, number: int, stream: bool) -> None:
        """An item came for ``ask``."""
        assert number < len(self.said), f"item {number} was never published"
        item = self.said[number]
        assert (item.channel, channel in ask.channels) == (channel, True), f"item {number} came for {ask}"
        assert (item.stream if stream else item.response) in ("send", "patch")
        assert number >= ask.since, f"item {number} is older than {ask}"
        assert not ask.heard or number > ask.heard[-1], f"item {number} came after {ask.heard[-1]}"
        ask.heard.append(number)

    def check_stream(self, ask: Ask) -> None:
        """A stream has ended, as an item said, and everything before that was heard, once, in order."""
        mine = [(n, item.stream) for n, item in enumerate(self.said) if item.channel in ask.channels]
        sent = [n for n, action in mine if action == "send"]
        assert ask.joined is not None
        if ask.heard:
            start = sent.index(ask.heard[0])
            missing = sent[start : start + len(ask.heard)] != ask.heard
            missing = missing or any(ask.joined <= n < ask.heard[0] for n in sent)
            assert not missing, f"items are missing in {ask}; sent: {sent}"
        first = ask.heard[-1] + 1 if ask.heard else ask.joined
        after = next((n for n in sent if n >= first), len(self.said))
        first = first if ask.heard else ask.since
        assert any(action == "close" and first <= n < after for n, action in mine), f"{ask} ended; {mine}"


class _NoBody(BodyReader):
    """The reader of a response to HEAD."""

    def __init__(self, client: RawClient) -> None:
        super().__init__(client, Head(b"", "HTTP/1.1", 204, "", []))


def _check_framing(head: Head) -> None:
    lengths, codings = head.all("Content-Length"), head.all("Transfer-Encoding")
    assert len(lengths) <= 1 and codings in ([], ["chunked"]), head.raw
    assert not (lengths and codings), head.raw
    assert not codings or head.version == "HTTP/1.1", head.raw
    assert not any(name.lower().startswith("grip-") for name, _ in head.headers), head.raw


def _persists(head: Head) -> bool:
    options = [option.strip().lower() for value in head.all("Connection") for option in value.split(",")]
    return "close" not in options if head.version == "HTTP/1.1" else "keep-alive" in options
