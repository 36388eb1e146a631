"""What a response head means, and what of it is relayed."""

from __future__ import annotations

import pytest

from pushpin_tw.errors import (
    OriginBlocked,
    OriginError,
    OriginLengthless,
    OriginSilent,
    OriginTimeout,
    OriginUnreachable,
    OriginUnsuitable,
)
from pushpin_tw.proxy import answers
from pushpin_tw.proxy.decision import Decision, decide, relayed_headers
from pushpin_tw.wire.message import Response

PLAIN = Response(200, b"OK", [(b"Content-Type", b"text/plain")])
HEADER = Response(404, b"Not Found", [(b"X", b"1"), (b"gRIP-Foo", b"")])
JSON = Response(200, b"OK", [(b"content-type", b"application/grip-instruct; a=b")])


@pytest.mark.parametrize(
    ("response", "grip", "replayable", "expected"),
    [
        (PLAIN, True, True, Decision.RELAY),
        (PLAIN, True, False, Decision.RELAY),
        (HEADER, False, True, Decision.RELAY),
        (HEADER, False, False, Decision.RELAY),
        (HEADER, True, True, Decision.GATHER),
        (JSON, True, True, Decision.GATHER),
        (HEADER, True, False, Decision.TOO_LARGE),
        (JSON, True, False, Decision.TOO_LARGE),
    ],
)
def test_a_head_is_decided_upon(response: Response, grip: bool, replayable: bool, expected: Decision) -> None:
    assert decide(response, grip=grip, replayable=replayable) is expected


def test_what_belongs_to_the_hop_is_not_relayed() -> None:
    kept = [(b"Set-Cookie", b"a"), (b"set-cookie", b"b"), (b"Content-Encoding", b"gzip"), (b"Trailer", b"T")]
    hop = [
        (b"Connection", b"x"),
        (b"KEEP-ALIVE", b"5"),
        (b"transfer-encoding", b""),
        (b"Content-Length", b"3"),
    ]
    mixed = [pair for both in zip(kept, hop, strict=True) for pair in both]
    assert relayed_headers(Response(200, b"OK", mixed)) == kept


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OriginUnreachable("refused"), "Unable to connect to any targets. Tried: a:1, test"),
        (OriginBlocked("private"), "Error: Origin host/IP blocked."),
        (OriginUnsuitable("Not here"), "Not here"),
        (OriginSilent("60 s"), "Error: zhttp service for route is unreachable."),
        (OriginTimeout("silent"), "Error while proxying to origin."),
        (OriginError("closed"), "Error while proxying to origin."),
    ],
)
def test_only_in_debug_mode_a_client_learns_what_went_wrong(error: Exception, text: str) -> None:
    assert answers.origin_error_text(error, ["a:1", "test"], debug=True) == text
    assert answers.origin_error_text(error, ["a:1", "test"], debug=False) == "Error while proxying to origin."


def test_a_length_that_is_required_is_the_clients_business() -> None:
    error = OriginLengthless("length-required")
    assert answers.origin_error(error, ["a"], debug=False) == (411, "Must provide Content-Length header.")
    assert answers.origin_error_text(error, ["a"], debug=True) == "Error while proxying to origin."
    assert answers.origin_error(OriginError("x"), ["a"], debug=True)[0] == 502
