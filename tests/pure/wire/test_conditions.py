"""Which error a worker's condition is."""

from __future__ import annotations

import pytest

from pushpin_tw.errors import (
    OriginBlocked,
    OriginError,
    OriginInsecure,
    OriginLengthless,
    OriginUnanswered,
    OriginUnreachable,
)
from pushpin_tw.wire.conditions import failure


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("remote-connection-failed", OriginUnreachable),
        ("connection-timeout", OriginUnanswered),
        ("tls-error", OriginInsecure),
        ("policy-violation", OriginBlocked),
        ("length-required", OriginLengthless),
        ("bad-request", OriginError),
        ("no such", OriginError),
        ("", OriginError),
    ],
)
def test_the_kind_of_error(condition: str, kind: type[OriginError]) -> None:
    error = failure(condition)
    assert type(error) is kind
    assert str(error) == (condition or "undefined-condition")
