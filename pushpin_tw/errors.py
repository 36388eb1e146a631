"""Every error that crosses a border between rooms.

An error knows what its peer should be told, so that one ``except`` at each border is enough.  Anything that
is not one of these is a bug: it is logged with its traceback and costs one connection.
"""

from __future__ import annotations


class PushpinError(Exception):
    """The root: raised by this package on purpose."""


class ConfigError(PushpinError):
    """The configuration cannot be used; stops the start."""

    def __init__(self, message: str, file: str = "", line: int = 0, key: str = "") -> None:
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        where = f"{file}:{line}: " if line else f"{file}: " if file else ""
        name = f"{key}: " if key else ""
        super().__init__(f"{where}{name}{message}")


class RouteSyntaxError(PushpinError):
    """One line of a routes file is wrong; the line is reported and skipped."""


class WireError(PushpinError):
    """A peer broke a rule of its protocol."""


class HttpError(WireError):
    """An HTTP message that cannot be read in exactly one way.

    ``status`` is the answer for a client, ``text`` the body without its line end.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        self.text = text
        self.status = status
        super().__init__(text)


class PacketError(WireError):
    """A ZeroMQ packet that cannot be decoded."""


class GripError(PushpinError):
    """The origin's instructions are unusable; ``detail`` is shown only in debug mode."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class InstructError(GripError):
    """Grip headers or an ``application/grip-instruct`` body with a wrong value."""


class ControlError(GripError):
    """A control message of a WebSocket that means nothing; it is ignored."""


class FilterError(GripError):
    """A filter could not do its work; ``detail`` begins with ``filter error: ``.

    With ``blank`` an item is delivered all the same, without content (grip 13.3).
    """

    def __init__(self, detail: str, blank: bool = False) -> None:
        self.blank = blank
        super().__init__(detail)


class PublishError(PushpinError):
    """A publisher's words are wrong; ``reason`` is what it is told (may be empty)."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class OriginError(PushpinError):
    """No usable answer from an origin: 502, no other target is tried."""

    kind = "general error"
    """What filters that ask an origin call it (grip 13.6)."""


class OriginUnreachable(OriginError):
    """The connection could not be made (refused, timed out, TLS failure): the next target is tried."""

    kind = "connection refused"


class OriginUnanswered(OriginUnreachable):
    """Nobody answered the attempt to connect."""

    kind = "connection timed out"


class OriginInsecure(OriginUnreachable):
    """TLS failed: no handshake, or the peer could not prove who it is."""

    kind = "tls error"


class OriginDisconnected(OriginError):
    """The connection ended before the response was complete."""

    kind = "disconnected"


class OriginUnsent(OriginDisconnected):
    """The connection ended before the request had left: nothing can have come of it."""


class OriginBlocked(OriginError):
    """All addresses of an untrusted target are private: refused by policy."""


class OriginLengthless(OriginError):
    """A worker does without bodies of unknown length: 411 for a request."""


class OriginSilent(OriginError):
    """A worker said nothing for too long, or there was none to be asked: 502.

    Who has not heard of the request cannot have begun to answer it, so that there are words for the client.
    """

    kind = "request timed out"


class OriginUnsuitable(OriginError):
    """The target is of a kind that cannot do this; the text is for clients in debug mode."""


class OriginTimeout(OriginError):
    """The origin was silent for too long: the client is dropped without a word."""

    kind = "request timed out"
