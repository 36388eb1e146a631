"""What an origin asked for: its Grip headers turned into an ``Instruct`` (grip 2 to 6).

Called by the proxy for every response that is an instruction, and for the responses of next links.  The
``application/grip-instruct`` body is read by ``jsoninstruct``.  Never knows the route: channel names are
without its prefix.  Values are decoded and checked here, so that whoever acts on an instruct need not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from pushpin_tw.errors import InstructError
from pushpin_tw.grip.jsoninstruct import apply_json
from pushpin_tw.grip.links import resolve
from pushpin_tw.grip.params import Param, lookup, parse_element, parse_params, split_elements, to_text
from pushpin_tw.grip.scalars import decode_base64, parse_int
from pushpin_tw.grip.status import default_reason
from pushpin_tw.grip.terms import (
    DEFAULT_LINK_TIMEOUT,
    DEFAULT_TIMEOUT,
    MAX_BODY,
    MIN_TIMEOUT,
    Channel,
    Instruct,
    KeepAlive,
    NextLink,
    check_filters,
    without_framing,
)
from pushpin_tw.wire import headers as header_list
from pushpin_tw.wire.headers import Header, HeaderList
from pushpin_tw.wire.message import Response

__all__ = [
    "CONTENT_TYPE",
    "MAX_BODY",
    "Channel",
    "Instruct",
    "KeepAlive",
    "NextLink",
    "allows_long_body",
    "client_headers",
    "is_instruct",
    "parse_instruct",
]

CONTENT_TYPE = b"application/grip-instruct"

GripHeaders = dict[bytes, list[bytes]]
"""Values by lower-case name without ``grip-``, in order."""

_ESCAPE = re.compile(rb"\\(x.{0,2}|.?)", re.S)
_HEX = re.compile(rb"x[0-9A-Fa-f]{2}")
_ESCAPES = {b"\\": b"\\", b"r": b"\r", b"n": b"\n"}


def is_instruct(response: Response) -> bool:
    """Whether the origin means us by this response (grip 2, number 4)."""
    for name, _ in response.headers:
        if name[:5].lower() == b"grip-":
            return True
    return _is_json(response)


def allows_long_body(response: Response) -> bool:
    """Whether a body beyond ``MAX_BODY`` may be streamed instead of gathered (grip 2).

    A JSON instruction never may: its body is no content.
    """
    if _is_json(response):
        return False
    headers = _collect(response.headers)
    hold = _first(headers, b"hold")
    if hold is None:
        links = _elements(headers, b"link")
        if not any(lookup(params, b"rel") == b"next" for _, params in links):
            return False
    elif hold != b"stream":
        return False
    channels = _elements(headers, b"channel")
    return all((b"filter", b"build-id") not in params for _, params in channels)


def client_headers(headers: Iterable[Header]) -> HeaderList:
    """An origin's headers without those that no client of a GRIP response sees (grip 6)."""
    return [pair for pair in without_framing(headers) if pair[0][:5].lower() != b"grip-"]


def parse_instruct(response: Response, body: bytes, uri: str) -> Instruct:
    """Read the instruction in ``response``, whose complete body, decoded, is ``body``.

    ``uri`` is what links are relative to: the absolute URI of the client's request, or of the next link that
    was fetched.  For a response of which only the head counts, ``body`` is empty.

    :raises InstructError: with the words of grip 4 and 5.
    """
    instruct = _parse_headers(response, body, uri)
    if _is_json(response):
        instruct = apply_json(instruct, response, body)
    if len(instruct.channels) > 1:
        # One subscription for each name, in the place of the first mention, as the last one wants it.
        by_name = {channel.name: channel for channel in instruct.channels}
        instruct = replace(instruct, channels=tuple(by_name.values()))
    return instruct


def _is_json(response: Response) -> bool:
    content_type = header_list.get(response.headers, b"content-type")
    return content_type is not None and content_type.partition(b";")[0] == CONTENT_TYPE


def _collect(headers: Iterable[Header]) -> GripHeaders:
    found: GripHeaders = {}
    for name, value in headers:
        if name[:5].lower() == b"grip-":
            found.setdefault(name[5:].lower(), []).append(value)
    return found


def _parse_headers(response: Response, body: bytes, uri: str) -> Instruct:
    headers = _collect(response.headers)
    mode = _hold(headers)
    channels = _channels(headers)
    timeout = _timeout(headers)
    keep_alive = _keep_alive(headers)
    meta = _meta(headers)
    status, reason = _status(headers, response)
    next_link, gone_link = _links(headers, uri)
    exposed = _expose(headers, client_headers(response.headers))
    return Instruct(
        mode, status, reason, exposed, body, channels, timeout, keep_alive, meta, next_link, gone_link
    )


def _first(headers: GripHeaders, name: bytes) -> bytes | None:
    """The value of a single-valued header: its first occurrence counts (grip 3)."""
    values = headers.get(name)
    return values[0] if values else None


def _elements(headers: GripHeaders, name: bytes) -> list[tuple[bytes, list[Param]]]:
    """The elements of a list header; those whose params do not parse are skipped (grip 3)."""
    elements = split_elements(headers.get(name, ()))
    return [found for found in map(parse_element, elements) if found is not None]


def _hold(headers: GripHeaders) -> str:
    hold = _first(headers, b"hold")
    if hold is None:
        return "none"
    if hold not in (b"response", b"stream"):
        raise InstructError("Grip-Hold must be set to either 'response' or 'stream'")
    return hold.decode()


def _channels(headers: GripHeaders) -> tuple[Channel, ...]:
    found = []
    for value, params in _elements(headers, b"channel"):
        name = to_text(value)
        filters = tuple(to_text(one) for key, one in params if key == b"filter" and one is not None)
        check_filters(filters, name)
        prev_id = lookup(params, b"prev-id")
        found.append(Channel(name, None if prev_id is None else to_text(prev_id), filters))
    return tuple(found)


def _timeout(headers: GripHeaders) -> int:
    value = _first(headers, b"timeout")
    if value is None:
        return DEFAULT_TIMEOUT
    timeout = parse_int(to_text(value))
    if timeout is None:
        raise InstructError("failed to parse Grip-Timeout")
    if timeout < 0:
        raise InstructError("Grip-Timeout has invalid value")
    return max(MIN_TIMEOUT, timeout)


def _keep_alive(headers: GripHeaders) -> KeepAlive | None:
    value = _first(headers, b"keep-alive")
    element = parse_element(value) if value else None
    if element is None:
        return None
    data, params = element
    if not data:
        raise InstructError("Grip-Keep-Alive cannot be empty")
    mode = lookup(params, b"mode") or b"idle"
    if mode not in (b"idle", b"interval"):
        raise InstructError(f"no such Grip-Keep-Alive mode '{to_text(mode)}'")
    timeout = _seconds(params, "Grip-Keep-Alive", DEFAULT_TIMEOUT)
    data = _keep_alive_data(data, lookup(params, b"format") or b"raw")
    return KeepAlive(data, max(1, timeout), mode == b"interval") if data else None


def _keep_alive_data(data: bytes, form: bytes) -> bytes:
    if form == b"raw":
        return data
    if form == b"base64":
        return decode_base64(data)
    if form != b"cstring":
        raise InstructError(f"no such Grip-Keep-Alive format '{to_text(form)}'")
    data = _ESCAPE.sub(_unescape, data)
    if not data:
        raise InstructError("failed to parse Grip-Keep-Alive cstring format")
    return data


def _unescape(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if escape.startswith(b"x"):
        if _HEX.fullmatch(escape):
            return bytes([int(escape[1:], 16)])
    elif escape:
        return _ESCAPES.get(escape, b"")
    raise InstructError("failed to parse Grip-Keep-Alive cstring format")


def _seconds(params: list[Param], header: str, default: int) -> int:
    value = lookup(params, b"timeout")
    if value is None:
        return default
    seconds = parse_int(to_text(value))
    if seconds is None:
        raise InstructError(f"failed to parse {header} timeout value")
    if seconds < 0:
        raise InstructError(f"{header} timeout has invalid value")
    return seconds


def _meta(headers: GripHeaders) -> dict[str, str]:
    meta: dict[str, str] = {}
    for element in split_elements(headers.get(b"set-meta", ())):
        params = parse_params(element)
        if not params:
            continue
        key, value = params[0]
        if value is None:
            meta.pop(to_text(key), None)
        else:
            meta[to_text(key)] = to_text(value)
    return meta


def _status(headers: GripHeaders, response: Response) -> tuple[int, bytes]:
    """Status and reason for the client.

    Below 200 no response is final, so that such a status is refused, although the original takes it.
    """
    value = _first(headers, b"status")
    if not value:
        return response.status, response.reason or default_reason(response.status)
    code, _, reason = value.partition(b" ")
    status = parse_int(to_text(code))
    if status is None or not 200 <= status <= 999:
        raise InstructError("Grip-Status contains invalid status code")
    if not header_list.is_value(reason):
        raise InstructError("Grip-Status contains invalid reason")
    return status, reason or default_reason(status)


def _links(headers: GripHeaders, base: str) -> tuple[NextLink | None, str | None]:
    next_link: NextLink | None = None
    gone_link: str | None = None
    for value, params in _elements(headers, b"link"):
        if not params:
            continue
        if len(value) < 3 or not (value.startswith(b"<") and value.endswith(b">")):
            raise InstructError("failed to parse Grip-Link value")
        rel = lookup(params, b"rel")
        if rel not in (b"next", b"gone"):
            continue
        try:
            uri = resolve(base, value[1:-1])
        except ValueError:
            raise InstructError("Grip-Link contains invalid link") from None
        if rel == b"next":
            next_link = NextLink(uri, _seconds(params, "Grip-Link", DEFAULT_LINK_TIMEOUT))
        else:
            gone_link = uri
    return next_link, gone_link


def _expose(headers: GripHeaders, kept: HeaderList) -> tuple[Header, ...]:
    names = {name.lower() for name in split_elements(headers.get(b"expose-headers", ()))}
    return tuple(pair for pair in kept if not names or pair[0].lower() in names)
