"""The text of SockJS: frames, the bodies that clients send, script and page (websocket 6).

Called by ``edge`` for each transport, and by ``broker.parcel`` for messages that many clients get.  A message
within a frame is a JSON string literal, which is the same for all of them.  Never knows sessions or time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from pushpin_tw.errors import HttpError, WireError

OPEN = b"o"
HEARTBEAT = b"h"
MAX_CLOSE_REASON = 123
"""Bytes of a close reason (RFC 6455, 5.5.1)."""
MIN_HTML = 1024
"""Bytes of a page that browsers may wait for before they show or run any of it."""
NO_REASON = "Connection closed"
"""What a client is told when there is no reason."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_CALLBACK = re.compile(rb"[A-Za-z0-9_.$-]+")
_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_SURROGATE = re.compile("[\ud800-\udfff]")


# ---- to the client -----------------------------------------------------------------------------------------


def quote(data: bytes) -> bytes:
    """A message as a JSON string literal; what is no UTF-8 becomes U+FFFD, other characters stay."""
    return _encode(data.decode("utf-8", "replace")).encode()


def array(literals: Iterable[bytes]) -> bytes:
    """The frame of messages that are literals already."""
    return b"a[%b]" % b",".join(literals)


def close_frame(code: int | None, reason: bytes) -> bytes:
    """The frame that ends a session; the code is 0 when there is none."""
    return b"c[%d,%b]" % (code or 0, quote(reason or NO_REASON.encode()))


def padded(callback: bytes, text: bytes) -> bytes:
    """``text`` as a script that calls ``callback`` with it, which ``read_callback`` has checked."""
    return b"/**/%b(%b);\n" % (callback, _script_literal(text))


def html_beginning(callback: bytes) -> bytes:
    """The beginning of a page that never ends: its scripts talk to ``callback`` in the page around it, which
    ``read_callback`` has checked.  So long that browsers begin to run it."""
    return (_HTML % (callback, callback)).ljust(MIN_HTML) + b"\r\n\r\n"


def html_frame(frame: bytes) -> bytes:
    """The part of that page that hands over a frame."""
    return b"<script>\np(%b);\n</script>\r\n" % _script_literal(frame).replace(b"<", b"\\u003c")


def _script_literal(text: bytes) -> bytes:
    """A string within a script: a line ends where JSON does not see it."""
    literal = quote(text)
    for character, escape in _LINE_ENDS:
        literal = literal.replace(character, escape)
    return literal


def iframe_page(url: str) -> tuple[bytes, bytes]:
    """The page for clients of other origins, with the client library's ``url``, and its entity tag (with
    quotes)."""
    page = _IFRAME % _attribute(url)
    tag = hashlib.md5(page, usedforsecurity=False).hexdigest()
    return page, f'"{tag}"'.encode()


_IFRAME = b"""\
<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="%b"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"""


# A page around it that has not set its domain is reached only by one that has not, either.
_HTML = b"""\
<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    var c;
    try {
      c = parent.%b;
    } catch (e) {
      document.domain = document.domain;
      c = parent.%b;
    }
    c.start();
    function p(d) { c.message(d); }
    window.onload = c.stop;
  </script>
"""


def _attribute(url: str) -> bytes:
    """``url`` within double quotes; an operator's ``&`` stays as it was configured."""
    return url.replace('"', "%22").replace("<", "%3C").replace(">", "%3E").encode()


# ---- from the client ---------------------------------------------------------------------------------------


def read_messages(body: bytes) -> list[bytes]:
    """The messages of a JSON array of strings, in UTF-8; half of a surrogate pair becomes U+FFFD.

    :raises WireError: it is something else.
    """
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise WireError("no JSON") from None
    if not isinstance(found, list):
        raise WireError("no array")
    messages = []
    for text in found:
        if not isinstance(text, str):
            raise WireError("an element is no string")
        # Pairs were joined by the JSON reader; what is left has no counterpart in UTF-8.
        messages.append(_SURROGATE.sub("\ufffd", text).encode())
    return messages


def read_form(body: bytes) -> list[bytes]:
    """The messages in the field ``d`` of a form, the first of that name.

    :raises WireError: there is none, or it is no JSON array of strings.
    """
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"d":
            return read_messages(unquote_to_bytes(value.replace(b"+", b" ")))
    raise WireError("no field")


def read_callback(query: bytes | None) -> bytes | None:
    """The function that a script is to call: ``callback`` or else ``c`` of a query; None without either.

    :raises HttpError: 400, it is not a plain dotted name.
    """
    names: dict[bytes, bytes] = {}
    for pair in (query or b"").split(b"&"):
        name, _, value = pair.partition(b"=")
        names.setdefault(name, value)
    callback = names.get(b"callback") or names.get(b"c")
    if not callback:
        return None
    callback = unquote_to_bytes(callback)
    if not _CALLBACK.fullmatch(callback):
        raise HttpError("Bad Request")
    return callback
