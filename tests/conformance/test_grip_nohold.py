"""Instructions without a hold (grip 17.3): an ordinary response, its Grip headers taken off."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import reply
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred

PLAIN = [
    (
        "061",
        ["Grip-Channel: x", "X-A: 1"],
        b"plain",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nplain",
    ),
    ("062", ["Grip-Status: 404"], b"plain", b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nplain"),
    (
        "063",
        ["Grip-Foo: 1", "X-A: 1"],
        b"plain",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nplain",
    ),
    ("064", ["Grip-Channel: x"], b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
]


@pytest.mark.parametrize(("headers", "body", "expected"), numbered(PLAIN))
@case
async def test_no_hold(stage: Stage, headers: list[str], body: bytes, expected: bytes) -> None:
    await stage.start(reply(*headers, body=body))
    client = await stage.ask()
    await client.expect(expected)
    await stage.usable(client)


@case
async def test_grip_065_route_without_grip(stage: Stage) -> None:
    headers = ["Grip-Hold: response", "Grip-Channel: x"]
    await stage.start(reply(*headers, body=b"ng"), condition="*,debug,no_grip")
    client = await stage.ask()
    answer = await client.read_response()
    assert (answer.line, answer.body) == ("HTTP/1.1 200 OK", b"ng")
    assert (answer.get("Grip-Hold"), answer.get("Grip-Channel")) == ("response", "x")
    asked = await stage.origin.request(1)
    assert not [name for name, _ in asked.headers if name.lower().startswith("grip-")]
    await stage.usable(client)
