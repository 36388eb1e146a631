"""JSON-P requests: a request of any kind, written into the query of a GET by a foreign page (proxy 6.2).

Called by ``proxy`` for GET requests on routes with ``aco``.  Whoever can make a browser load a script can
write such a query, so it is read strictly: nothing in it can end a line, frame a body, or speak for a proxy.
Never answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from pushpin_tw.errors import HttpError
from pushpin_tw.routing.padding import Padding
from pushpin_tw.routing.route import Route
from pushpin_tw.routing.uri import Authority, Uri
from pushpin_tw.wire.headers import HeaderList, is_token, is_value, without
from pushpin_tw.wire.message import Request

_TYPE = b"content-type"
# Names that have no effect in "_headers": framing, headers of one hop, what is said here instead ...
_REFUSED = frozenset(
    (
        *(
            b"connection",
            b"keep-alive",
            b"proxy-connection",
            b"te",
            b"trailer",
            b"transfer-encoding",
            b"upgrade",
        ),
        *(b"content-length", b"expect", b"host", b"accept", b"forwarded", b"x-real-ip"),
    )
)
# ... and, like the last two above, what proxies say of a client.
_OF_PROXIES = (b"grip-", b"pushpin-", b"x-forwarded-", b"eb9bf0f5-")
_REPLACED = frozenset((b"host", b"accept"))
_ABOUT_BODIES = frozenset((b"content-type", b"content-encoding", b"content-length", b"transfer-encoding"))


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What a JSON-P request asks for."""

    padding: Padding
    request: Request
    uri: Uri
    body: bytes | None
    """None when it says nothing of a body: the GET's own goes with the request then, if it has one."""


def unwrap(request: Request, uri: Uri, route: Route) -> Unwrapped | None:
    """Read the query of a GET; None when it is no JSON-P request.

    :raises HttpError: 400, a parameter is not what it should be.
    """
    if request.method != b"GET" or uri.query is None:
        return None
    query = _Query(uri.query)
    callback_name, body_name = _name(route.jsonp_cb), _name(route.jsonp_body)
    default = _name(route.jsonp_defcb) if body_name else b""
    callback = query.take(callback_name, "callback", bool)
    if callback is None and body_name in query.names:
        callback = default
    if not callback:
        return None
    method = query.take(b"_method", "_method", is_token) or _name(route.jsonp_defmethod)
    headers = _headers(query.take(b"_headers", "_headers", bool))
    body = query.take(body_name or b"_body", "body" if body_name else "_body", bool)
    if body is not None and body_name:
        headers = [*without(headers, (_TYPE,)), (b"Content-Type", b"application/json")]
    rest = Uri(uri.scheme, uri.host, uri.port, uri.path, query.rest())
    padding = Padding(callback, route.jsonp_mode == "extended")
    return Unwrapped(padding, _request(request, rest, method, headers, body), rest, body)


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Query:
    """The parameters of a query, and what is left of it when some are taken."""

    def __init__(self, query: bytes) -> None:
        self._parts: list[tuple[bytes, bytes, bytes]] = []
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            self._parts.append((unquote_to_bytes(name), value, part))
        self.names = {name for name, _, _ in self._parts}

    def take(self, name: bytes, called: str, check: Callable[[bytes], bool]) -> bytes | None:
        """The first value of a parameter, decoded; all of that name are gone then.  None when it is absent.

        :raises HttpError: ``check`` finds it wrong; ``called`` is what the client is told.
        """
        if name not in self.names:
            return None
        value = next(unquote_to_bytes(value) for found, value, _ in self._parts if found == name)
        if not check(value):
            raise _invalid(called)
        self._parts = [part for part in self._parts if part[0] != name]
        return value

    def rest(self) -> bytes | None:
        """What was not taken, as it was; None for nothing."""
        return b"&".join(part for _, _, part in self._parts) or None


def _invalid(parameter: str) -> HttpError:
    return HttpError(f"Invalid {parameter} parameter.")


def _headers(text: bytes | None) -> HeaderList:
    """The headers in the object ``text``, sorted by name."""
    if text is None:
        return []
    try:
        value = json.loads(text.decode())
        if not isinstance(value, dict):
            raise ValueError("not an object")
        pairs = [(name.encode(), member.encode()) for name, member in sorted(value.items())]
    except (ValueError, AttributeError, RecursionError):  # AttributeError: a member that is no string
        raise _invalid("_headers") from None
    if not all(is_token(name) and is_value(member) for name, member in pairs):
        raise _invalid("_headers")
    return [pair for pair in pairs if _allowed(pair[0].lower())]


def _allowed(name: bytes) -> bool:
    return name not in _REFUSED and not name.startswith(_OF_PROXIES)


def _request(request: Request, uri: Uri, method: bytes, headers: HeaderList, body: bytes | None) -> Request:
    """``request`` as if it had come in the plain, its headers in the order of the original."""
    host = Authority(uri.host, uri.port).text(uri.secure)
    dropped = _REPLACED if body is None else _REPLACED | _ABOUT_BODIES
    headers = [*headers, (b"Host", host), (b"Accept", b"*/*"), *without(request.headers, dropped)]
    target = uri.path if uri.query is None else b"%b?%b" % (uri.path, uri.query)
    plain = replace(request, method=method, target=target or b"/", headers=headers, host=host)
    if body is not None:
        plain.length, plain.chunked, plain.expects_continue = len(body), False, False
    return plain
