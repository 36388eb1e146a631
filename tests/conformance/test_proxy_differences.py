"""Where 2.0 differs from 1.41 and is followed (proxy 9).

Elsewhere: ``client_cert`` and ``client_key`` (``test_origin_tls``), ``--bearer`` (``test_publish_cli``),
``-V`` (``test_options``), the update check (``test_reading``), filters that ask backends (grip 164 to 166).
"""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold, reply
from tests.support.stage import Stage

pytestmark = pytest.mark.differs("as 2.0 does it")
case = pytest_twisted.ensureDeferred
OK = reply(body=b"ok\n")


@pytest.mark.parametrize("debug", ["false", "true"])
@case
async def test_no_route(stage: Stage, debug: str) -> None:
    await stage.start(OK, condition="a.example", proxy={"debug": debug})
    got = await (await stage.ask(host="b.example")).read_response()
    assert (got.status, got.reason, got.body) == (502, "Bad Gateway", b"Route not found\n")
    await stage.proxy.settle()
    assert stage.proxy.lines()[-1] == "GET http://b.example/ code=502 16"


@case
async def test_what_is_announced(stage: Stage) -> None:
    await stage.start(OK)
    await (await stage.ask()).read_response()
    features = stage.origin.requests[0].get("Grip-Feature") or ""
    assert features.endswith(", filter:var-subst, filter:http-check, filter:http-modify")


@pytest.mark.parametrize(("target", "status"), [("/api/x", 200), ("/api", 200), ("/other", 502), ("/", 502)])
@case
async def test_a_route_by_its_id_must_fit_the_path(stage: Stage, target: str, status: int) -> None:
    line = f"named,id=r,path_beg=/api {stage.origin.address}"
    await stage.start(OK, routes=[line, "* test"], proxy={"accept_pushpin_route": "true"})
    got = await (await stage.ask(target, "Pushpin-Route: r")).read_response()
    assert got.status == status
    assert got.body == (b"ok\n" if status == 200 else b"Route not found\n")


@case
async def test_a_next_link_that_leaves_the_path_of_its_route(stage: Stage) -> None:
    """It goes to the host of the link itself, past the routes."""
    stage.origin.on("/out", reply(body=b"out"))
    other = await stage.another_origin(reply("Grip-Link: </out>; rel=next", body=b"in "))
    line = f"*,path_beg=/in,id=r {other.address}"
    await stage.start(OK, routes=[line, "* test"])
    client = await stage.ask("/in", host=stage.origin.address)
    assert (await client.read_response()).body == b"in out"
    [asked] = stage.origin.asked_for("/out")
    assert (asked.get("Host"), bool(asked.get("Grip-Sig"))) == (stage.origin.address, True)
    assert len(other.requests) == 1


@pytest.mark.parametrize("where", ["route", "configuration"])
@case
async def test_empty_keys_are_no_keys(stage: Stage, where: str) -> None:
    condition, key = ("*,sig_key=", "changeme") if where == "route" else ("*", "")
    await stage.start(OK, condition=condition, proxy={"sig_key": key})
    await (await stage.ask()).read_response()
    signature = stage.origin.requests[0].get("Grip-Sig")
    assert (signature is None) == (where == "configuration")  # else the key of the configuration signs


@case
async def test_routes_of_the_command_line_have_ids(stage: Stage) -> None:
    lines = [f"a.example,header=X-R:a {stage.origin.address}", f"*,header=X-R:any {stage.origin.address}"]
    await stage.start(OK, routes=lines, proxy={"accept_pushpin_route": "true"})
    for wanted, found in (("*,*,*,*", "any"), ("a.example,*,*,*", "a")):
        await (await stage.ask("/", f"Pushpin-Route: {wanted}")).read_response()
        assert stage.origin.requests[-1].all("X-R") == [found]


@pytest.mark.parametrize(
    ("level", "property", "written"),
    [
        (2, "", True),
        (2, ",log_level=1", False),
        (1, "", False),
        (1, ",log_level=2", True),
        (0, ",log_level=4", True),
    ],
)
@pytest.mark.parametrize("held", [True, False], ids=["held", "relayed"])
@case
async def test_a_route_may_have_a_level_of_its_own(
    stage: Stage, level: int, property: str, written: bool, held: bool
) -> None:
    await stage.start(hold("response") if held else OK, condition=f"*{property}", runner={"log_level": level})
    client = await stage.ask(host="a.example")
    if held:
        await stage.proxy.held("c")
    else:
        await client.read_response()
    await stage.proxy.settle()
    line = f"GET http://a.example/ -> {stage.origin.address} {'accept' if held else 'code=200 3'}"
    assert [text for text in stage.proxy.lines() if text.startswith("GET")] == [line] * written


@pytest.mark.parametrize("size", [8000, 8150])
@case
async def test_a_head_that_grows_on_its_way(stage: Stage, size: int) -> None:
    """A client's head of nearly 8192 bytes is longer when it leaves."""
    await stage.start(OK)
    value = "x" * (size - len("GET / HTTP/1.1\r\nHost: example.com\r\nX-A: \r\n\r\n"))
    got = await (await stage.ask("/", f"X-A: {value}")).read_response()
    assert (got.status, got.body) == (200, b"ok\n")
    assert stage.origin.requests[0].get("X-A") == value


@case
async def test_more_than_64_headers_towards_the_backend(stage: Stage) -> None:
    """No more than 64 may come from a client, to which others are added."""
    sent = [f"X-{number}: {number}" for number in range(63)]
    await stage.start(OK, proxy={"x_forwarded_protocol": "true"})
    got = await (await stage.ask("/", *sent)).read_response()
    assert (got.status, got.body) == (200, b"ok\n")
    headers = stage.origin.requests[0].headers
    assert len(headers) > 64
    assert [
        f"{name}: {value}" for name, value in headers if name.startswith("X-") and name[2:].isdigit()
    ] == sent
