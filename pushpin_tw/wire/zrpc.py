"""Commands and their answers, as they travel over ZeroMQ (zeromq 4.1, 4.2).

Called by the command socket and by the program that asks it.  Knows how a command is written, not what can be
asked.  A message that is no command is an error here, and nobody is answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pushpin_tw.errors import PacketError
from pushpin_tw.wire.tnetstring import decode, encode

BAD_REQUEST = "bad-request"
METHOD_NOT_FOUND = "method-not-found"
ITEM_NOT_FOUND = "item-not-found"
TIMEOUT = "timeout"
REQUEST_FAILED = "proxy-request-failed"
"""Why a command was not carried out: what ``condition`` says."""


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks for."""

    method: str
    args: Mapping[str, Any] = field(default_factory=dict)
    """As ``tnetstring.decode`` gives them: strings are bytes."""
    id: bytes | None = None
    """What the answer repeats."""
    envelope: tuple[bytes, ...] = ()
    """Frames that lead the answer to whoever has asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a command; ``condition`` is None when it was carried out."""

    value: Any = None
    condition: str | None = None
    id: bytes | None = None


def read_command(frames: Sequence[bytes]) -> Command:
    """The command in a message as a ROUTER socket receives it: the peer's identity stands first.

    :raises PacketError: it is none.
    """
    try:
        start = frames.index(b"", 1)
    except ValueError:
        raise PacketError("no empty frame in front") from None
    contents = [frame for frame in frames[start:] if frame]
    if len(contents) != 1:
        raise PacketError(f"{len(contents)} frames with something in them instead of one")
    fields = _map(contents[0])
    method = _string(fields, "method")
    if method is None:
        raise PacketError("no 'method'")
    _string(fields, "from")
    args = fields.get("args", {})
    if not isinstance(args, dict):
        raise PacketError("'args' with wrong type")
    return Command(method.decode("utf-8", "replace"), args, _string(fields, "id"), tuple(frames[:start]))


def write_command(command: Command) -> bytes:
    """The one frame that a REQ socket sends.

    :raises TypeError: ``args`` are not what a tnetstring can hold.
    """
    fields: dict[str, Any] = {} if command.id is None else {"id": command.id}
    fields["method"] = command.method
    if command.args:
        fields["args"] = command.args
    return encode(fields)


def write_outcome(command: Command, outcome: Outcome) -> list[bytes]:
    """The answer to ``command``, for a ROUTER socket; it has the id of the command.

    A value is always there when the command was carried out, null when it has none.
    """
    fields: dict[str, Any] = {} if command.id is None else {"id": command.id}
    fields["success"] = outcome.condition is None
    if outcome.condition is not None:
        fields["condition"] = outcome.condition
    if outcome.condition is None or outcome.value is not None:
        fields["value"] = outcome.value
    return [*command.envelope, b"", encode(fields)]


def read_outcome(frame: bytes) -> Outcome:
    """The answer as a REQ socket receives it.

    :raises PacketError: it is none.
    """
    fields = _map(frame)
    success = fields.get("success")
    condition = _string(fields, "condition")
    if not isinstance(success, bool) or (condition is None and not success):
        raise PacketError("neither success nor a condition")
    words = None if success or condition is None else condition.decode("utf-8", "replace")
    return Outcome(fields.get("value"), words, _string(fields, "id"))


def _map(frame: bytes) -> dict[str, Any]:
    value = decode(frame)
    if not isinstance(value, dict):
        raise PacketError("no map")
    return value


def _string(fields: Mapping[str, Any], name: str) -> bytes | None:
    if name not in fields:
        return None
    value = fields[name]
    if not isinstance(value, bytes):
        raise PacketError(f"'{name}' with wrong type")
    return value
