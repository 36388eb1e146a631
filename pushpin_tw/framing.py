"""The frames of one WebSocket, both ways, behind autobahn's reader (RFC 6455, 5; websocket 1.4 to 1.6).

Used by the edge (``ServerFraming``) and by origins (``ClientFraming``) once the handshake is over, which they
write themselves.  Messages pass in pieces as they come, control frames are told and never answered, the end
of the connection is the owner's.  Never touches sockets, never waits.

Autobahn's own set-up costs 9 KB and half a millisecond for each connection, nearly all of it for the
handshake, for timers and for a copy of the options.  Here options belong to the class, and an object has what
changes while frames are read.
"""

# ruff: noqa: N802, N803, N815 (names that autobahn has chosen)

from __future__ import annotations

import zlib
from codecs import utf_8_decode
from collections.abc import Callable
from typing import Any, Protocol

import autobahn.websocket
from autobahn.websocket.protocol import (
    TrafficStats,
    WebSocketClientProtocol,
    WebSocketProtocol,
    WebSocketServerProtocol,
)
from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]

from pushpin_tw.sockets import BINARY, CLOSE, FRAME, MESSAGE, PARTIAL, PING, PONG, TEXT
from pushpin_tw.wire.websocket import (
    DeflatedMessage,
    Inflater,
    close_payload,
    deflate,
    encode_frame,
    frame_header,
    is_close_code,
    mask,
    relax,
)

PROTOCOL_ERROR = 1002
INVALID_DATA = 1007

_NATIVE = getattr(autobahn.websocket, "USES_NVX", False)
"""Whether autobahn masks in machine code."""
_LONG = 2048
"""Bytes from which on that is worth its set-up."""


class FramingOwner(Protocol):
    """Who is told what the peer says."""

    def piece(self, kind: int, data: bytes, first: bool, end: int) -> None:
        """A piece of a message or a whole ``PING`` or ``PONG``; as ``ISocketOwner.socket_received``."""

    def closed(self, code: int | None, reason: bytes) -> None:
        """CLOSE; whatever follows is not looked at."""

    def violated(self, code: int, text: str) -> None:
        """The peer has broken the rules; nothing more is told.  ``code`` and ``text`` are for a CLOSE."""


class _Role:
    """As much of a factory as autobahn asks for."""

    def __init__(self, is_server: bool) -> None:
        self.isServer = is_server


class _Silence:
    """Autobahn's log: whatever it says here is said by the owner, or not worth saying."""

    def debug(self, *args: object, **kwargs: object) -> None:
        """Nothing."""


class _Utf8:
    """Whether a message is UTF-8, piece by piece; in place of autobahn's, which takes ten times as long."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def reset(self) -> None:
        """A message begins."""
        self._rest = b""

    def validate(self, data: bytes) -> tuple[bool, bool, int, int]:
        """Whether all is well so far, whether no character is incomplete, and two positions."""
        if self._rest:
            data = self._rest + data
        elif data.isascii():
            return True, True, 0, 0
        try:
            _, used = utf_8_decode(data, "strict", False)
        except UnicodeDecodeError:
            return False, False, 0, 0
        self._rest = data[used:]
        return True, not self._rest, 0, 0


class _Deflate:
    """``permessage-deflate`` as autobahn's reader wants it."""

    __slots__ = ("_inflater",)

    EXTENSION_NAME = "permessage-deflate"

    def __init__(self) -> None:
        self._inflater: Inflater | None = None

    def start_decompress_message(self) -> None:
        """A compressed message begins; the first one costs memory for all that follow."""
        if self._inflater is None:
            self._inflater = Inflater()

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        """The content of a piece; ``zlib.error`` passes through autobahn to ``received``."""
        assert self._inflater is not None
        return self._inflater.piece(data)

    def end_decompress_message(self) -> None:
        """The message is complete."""
        assert self._inflater is not None
        self._inflater.end()


class _Framing(WebSocketProtocol):
    """What both sides have in common; one of autobahn's own sides is always mixed in."""

    __slots__ = (
        "_deflated",
        "_first",
        "_isMessageCompressed",
        "_kind",
        "_lenient",
        "_owner",
        "_perMessageCompress",
        "_tail",
        "_write",
        "control_frame_data",
        "current_frame",
        "current_frame_masker",
        "data",
        "inside_message",
        "message_data_total_length",
        "state",
        "utf8validateIncomingCurrentMessage",
        "utf8validateLast",
        "utf8validator",
    )

    log = _Silence()
    # Nobody reads these numbers.
    trafficStats = TrafficStats()
    trackedTimings: Any = None
    logOctets = logFrames = False
    failByDrop = True
    # The key is applied in onFrameData.
    applyMask = False
    maxFramePayloadSize = maxMessagePayloadSize = 0
    failedByMe = False
    autoPingPending = autoPingTimeoutCall = None

    def __init__(
        self, write: Callable[[bytes], object], owner: FramingOwner, deflate: bool, lenient: bool
    ) -> None:
        """``write`` takes the bytes of frames.  ``deflate``: permessage-deflate was agreed.  ``lenient``:
        what the original accepts is accepted (websocket 1.5)."""
        # Without super().__init__(), which makes Deferreds of a handshake.
        self._write = write
        self._owner: Any = owner
        self._lenient = lenient
        self._perMessageCompress: Any = _Deflate() if deflate else None
        self._deflated: DeflatedMessage | None = None
        self._kind = TEXT
        self._first = False
        self._tail = b""
        self.state = WebSocketProtocol.STATE_OPEN
        self.data = b""
        self.current_frame: Any = None
        self.current_frame_masker: Any = None
        self.control_frame_data: Any = None
        self.inside_message = False
        self.message_data_total_length = 0
        self.utf8validator: Any = _Utf8()
        self.utf8validateLast: Any = None
        self.utf8validateIncomingCurrentMessage = False
        self._isMessageCompressed: bool = False

    # ---- for the owner -------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the peer.  Not to be called while the owner is being told something."""
        if self.state != WebSocketProtocol.STATE_OPEN:
            return
        self.data = self.data + data if self.data else data
        try:
            self.consumeData()
        except zlib.error:
            self._fail_connection(INVALID_DATA, "invalid compressed data")

    def frame(self, kind: int, data: bytes, first: bool = True, last: bool = True) -> None:
        """Write a frame with a piece of a message, or ``PING`` or ``PONG``, which are never compressed."""
        if kind > BINARY or self._perMessageCompress is None:
            self._emit(kind if first else 0, data, last, False)
        elif first and last:
            self._emit(kind, deflate(data), True, True)
        else:
            if first or self._deflated is None:
                self._deflated = DeflatedMessage()
            self._emit(kind if first else 0, self._deflated.piece(data, last), last, first)
            if last:
                self._deflated = None

    def close(self, code: int | None, reason: bytes = b"") -> None:
        """Write CLOSE."""
        self._emit(CLOSE, close_payload(code, reason), True, False)

    def stop(self) -> None:
        """The owner hears nothing more, also not of what has come already, and nothing is written."""
        self.state = WebSocketProtocol.STATE_CLOSED
        self.data = self._tail = b""
        self._owner = self._deflated = None
        self._write = _lose

    def _emit(self, opcode: int, data: bytes, fin: bool, compressed: bool) -> None:
        """Write one frame."""

    # ---- autobahn's options --------------------------------------------------------------------------------

    @property
    def requireMaskedClientFrames(self) -> bool:
        return not self._lenient

    @property
    def acceptMaskedServerFrames(self) -> bool:
        return self._lenient

    @property
    def utf8validateIncoming(self) -> bool:
        return not self._lenient

    # ---- called by autobahn's reader -----------------------------------------------------------------------

    def processData(self) -> bool:
        """The next step of reading; whether there may be another one."""
        if self._lenient and self.current_frame is None:
            data = relax(self.data)
            if data is None:
                return False
            self.data = data
        return super().processData()

    def onFrameData(self, payload: bytes) -> bool | None:
        """A part of a frame's payload, as it came."""
        key = self.current_frame.mask
        if key is not None and payload:
            at = (self.current_frame_masker.pointer() - len(payload)) % 4
            if at:
                key = key[at:] + key[:at]
            payload = _mask(payload, key)
        return super().onFrameData(payload)

    def _onMessageBegin(self, is_binary: bool) -> None:
        self._kind = BINARY if is_binary else TEXT
        self._first = True

    def _onMessageFrameBegin(self, length: int) -> None:
        pass

    def _onMessageFrameData(self, payload: bytes) -> None:
        """The last part of a frame waits for autobahn's judgement on the whole."""
        if self.current_frame_masker.pointer() == self.current_frame.length:
            self._tail = payload
        elif payload:
            self._tell(payload, PARTIAL)

    def _onMessageFrameEnd(self) -> None:
        if not self.current_frame.fin:
            self._tell(self._tail, FRAME)

    def _onMessageEnd(self) -> None:
        self._tell(self._tail, MESSAGE)

    def _tell(self, data: bytes, end: int) -> None:
        first, self._first, self._tail = self._first, False, b""
        self._owner.piece(self._kind, data, first, end)

    def _onPing(self, payload: bytes) -> None:
        self._owner.piece(PING, payload, True, MESSAGE)

    def _onPong(self, payload: bytes) -> None:
        self._owner.piece(PONG, payload, True, MESSAGE)

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool:
        """CLOSE; true, so that nothing behind it is read."""
        reason = reasonRaw or b""
        if code is not None and not self._lenient and not is_close_code(code):
            self._fail_connection(PROTOCOL_ERROR, f"invalid close code {code}")
            return True
        try:
            reason.decode()
        except UnicodeDecodeError:
            self._fail_connection(INVALID_DATA, "invalid close reason")
            return True
        self.state = WebSocketProtocol.STATE_CLOSED
        self._owner.closed(code, reason)
        return True

    def _fail_connection(self, code: int = PROTOCOL_ERROR, reason: str = "") -> None:
        """The peer has broken the rules."""
        if self.state == WebSocketProtocol.STATE_OPEN:
            self.state = WebSocketProtocol.STATE_CLOSED
            self._owner.violated(code, reason)


class ServerFraming(_Framing, WebSocketServerProtocol):
    """The server's side."""

    __slots__ = ()

    factory = _Role(True)

    def _emit(self, opcode: int, data: bytes, fin: bool, compressed: bool) -> None:
        self._write(encode_frame(opcode, data, fin, compressed))


class ClientFraming(_Framing, WebSocketClientProtocol):
    """The client's side."""

    __slots__ = ("_entropy",)

    factory = _Role(False)

    def __init__(
        self,
        write: Callable[[bytes], object],
        owner: FramingOwner,
        deflate: bool,
        lenient: bool,
        entropy: Callable[[int], bytes],
    ) -> None:
        """As any framing; ``entropy(n)`` makes ``n`` bytes that nobody can guess, for masks."""
        super().__init__(write, owner, deflate, lenient)
        self._entropy = entropy

    def _emit(self, opcode: int, data: bytes, fin: bool, compressed: bool) -> None:
        key = self._entropy(4)
        header = frame_header(opcode, len(data), fin, compressed, masked=True)
        self._write(header + key + _mask(data, key))


def _lose(data: bytes) -> None:
    """To write after the end."""


def _mask(data: bytes, key: bytes) -> bytes:
    if len(data) < _LONG or not _NATIVE:
        return mask(data, key)
    masked: bytes = create_xor_masker(key, len(data)).process(data)
    return masked
