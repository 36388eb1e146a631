"""Which line of the routes file a request goes by, what that does to it, and how the file is read again.

Proxy 10.1, through the whole service.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.ssl import Certificate, optionsForClientTLS

from tests.support.certificates import Authority
from tests.support.origin import reply
from tests.support.rawclient import RawClient
from tests.support.running import Proxy
from tests.support.stage import Stage
from tests.support.waiting import until

pytestmark = pytest.mark.differs("1.36 reads clients and asks backends with other programs than 1.41")
case = pytest_twisted.ensureDeferred
OK = reply("Content-Type: text/plain", body=b"ok\n")


NO_ROUTE = b"Route not found\n"


async def use(stage: Stage, *lines: str, **settings: object) -> None:
    """Start with these lines; ``B`` in them is the backend."""
    await stage.start(OK, routes=written(stage, lines), **settings)  # type: ignore[arg-type]


def written(stage: Stage, lines: tuple[str, ...]) -> list[str]:
    return [line.replace(" B", f" {stage.origin.address}") for line in lines]


async def use_file(stage: Stage, directory: Path, *lines: str, **settings: object) -> Path:
    """Start with a routes file of these lines."""
    path = directory / "routes"
    write(stage, path, *lines)
    await stage.start(OK, routes=path, **settings)  # type: ignore[arg-type]
    return path


def write(stage: Stage, path: Path, *lines: str) -> None:
    path.write_text("\n".join([*written(stage, lines), ""]))


async def route_of(stage: Stage, *headers: str, host: str = "a.example", target: str = "/") -> list[str]:
    """Ask; the X-R headers that reached the backend tell the line."""
    before = len(stage.origin.requests)
    client = await stage.ask(target, *headers, host=host)
    answer = await client.read_response()
    client.drop()
    if len(stage.origin.requests) == before:
        assert (answer.status, answer.body) == (502, NO_ROUTE)
        return ["none"]
    assert (answer.status, answer.body) == (200, b"ok\n")
    return stage.origin.requests[-1].all("X-R")


# ---- lines -------------------------------------------------------------------------------------------------


@case
async def test_c001_one_route(stage: Stage) -> None:
    await use(stage, "* B")
    client = await stage.ask()
    await client.expect(OK)


@case
async def test_c002_a_line_without_target(stage: Stage, tmp_path: Path) -> None:
    await use_file(stage, tmp_path, "a.example", "* B")
    assert stage.proxy.lines() == [
        "routes:1: must specify condition and at least one target",
        "routes loaded with 1 entries",
    ]
    assert await route_of(stage) == []


BAD_LINES = [
    ("a.example", ": must specify condition and at least one target"),
    ("a,proto=ftp test", ": proto must be set to 'http' or 'ws'"),
    ("a,ssl=maybe test", ": ssl must be set to 'yes' or 'no'"),
    ("a,path_beg= test", ": path_beg cannot be empty"),
    ("a,jsonp_mode=x test", ": jsonp_mode must be set to 'basic' or 'extended'"),
    ("a,header=X test", ": header must use format 'name:value'"),
    ("a,header=:v test", ": header must use format 'name:value'"),
    ("a nowhere", ": target bad format"),
    ("a localhost:0", ": target invalid port"),
    ('a,header="X: y test', ": unterminated quoted section"),
    ('a,id="b\\', ": unterminated escape sequence"),
    ('a,id="b\\x" test', ": unexpected escape character: x"),
    ("a,=v test", ": empty prop name"),
    ("a, test", ": expecting prop"),
    ("good.example test", " skipping duplicate condition"),
    # One bad target drops the line.
    ("b.example test localhost:65536", ": target invalid port"),
    # C006: a tab separates nothing.
    ("*\ttest", ": must specify condition and at least one target"),
    # C047: what targets cannot be.
    ("c unix:/tmp/x", ": target invalid port"),
    ("c zws/tcp://127.0.0.1:1", ": target invalid port"),
    ("c http://h:80", ": target invalid port"),
    ("c ::1:80", ": target invalid port"),
]


@case
async def test_c003_c006_c047_c211_bad_lines_among_good_ones(stage: Stage, tmp_path: Path) -> None:
    bad = [line for line, _ in BAD_LINES]
    await use_file(stage, tmp_path, "good.example,header=X-R:good B", *bad, "late.example,header=X-R:late B")
    assert stage.proxy.lines() == [
        *[f"routes:{number}{text}" for number, (_, text) in enumerate(BAD_LINES, 2)],
        "routes loaded with 2 entries",
    ]
    assert await route_of(stage, host="good.example") == ["good"]
    assert await route_of(stage, host="late.example") == ["late"]
    assert await route_of(stage, host="b.example") == ["none"]


@case
async def test_c004_quotes(stage: Stage) -> None:
    await use(stage, '*,header="X-R: a b#c,d" B')
    assert await route_of(stage) == ["a b#c,d"]


@case
async def test_c005_spaces_and_a_comment(stage: Stage) -> None:
    await use(stage, "  *   B  # note")
    assert await route_of(stage) == []


@case
async def test_c045_a_flag_is_on_whatever_its_value(stage: Stage, down: str) -> None:
    await stage.start(OK, routes=[f"*,debug=false {down}"])
    answer = await (await stage.ask()).read_response()
    assert answer.status == 502
    assert answer.body == f"Unable to connect to any targets. Tried: {down}\n".encode()


@case
async def test_c046_a_backend_at_an_ipv6_address(stage: Stage) -> None:
    other = await stage.another_origin(OK, where=r"tcp6:0:interface=\:\:1")
    assert other.address.startswith("[::1]:")
    await stage.start(routes=[f"* {other.address}"])
    client = await stage.ask(host="a.example")
    await client.expect(OK)
    await stage.proxy.logged(f"GET http://a.example/ -> {other.address} code=200 3")


# ---- selection ---------------------------------------------------------------------------------------------

HOSTS = ("a.example,header=X-R:a B", "*,header=X-R:star B")
ONLY = ("c.example,path_beg=/only,header=X-R:only B", "*,header=X-R:star B")
LENGTHS = ("a,header=X-R:a B", "a,path_beg=/foo,header=X-R:foo B", "a,path_beg=/foo/bar,header=X-R:bar B")
WIDE = ("*.b.example,header=X-R:w B", "*,header=X-R:star B")
UPPER = ("UPPER.example,header=X-R:upper B", "*,header=X-R:star B")
ACCENT = ("c.example,path_beg=/%C3%A9,header=X-R:accent B",)
IDNA = ("xn--bcher-kva.example,header=X-R:book B",)
ESCAPED = ("*,path_beg=/foo,header=X-R:foo B",)
TWICE = ("*,path_beg=/x,header=X-R:first B", "*,path_beg=/x,header=X-R:second B")

SELECTED = [
    ("C007", HOSTS, "a.example:8080", "/", "a", "a.example:8080"),
    ("C008", HOSTS, "A.EXAMPLE", "/", "a", "a.example"),
    ("C009", HOSTS, "zzz", "/", "star", "zzz"),
    ("C010", WIDE, "x.b.example", "/", "star", "x.b.example"),
    ("C011", ONLY, "c.example", "/", "none", ""),
    ("C012", ONLY, "c.example", "/only1", "only", "c.example"),
    ("C013", LENGTHS, "a", "/foo/bar/x", "bar", "a"),
    ("C013-a", LENGTHS, "a", "/foo/x", "foo", "a"),
    ("C013-b", LENGTHS, "a", "/fo", "a", "a"),
    ("C014", (*LENGTHS, "a,proto=http,header=X-R:http B"), "a", "/foo/bar/x", "http", "a"),
    ("C015", ("d.example,proto=ws B",), "d.example", "/", "none", ""),
    ("C018", UPPER, "upper.example", "/", "star", "upper.example"),
    ("C019", ("::1,header=X-R:v6 B",), "[::1]:99", "/", "v6", "[::1]:99"),
    ("C020", IDNA, "bücher.example", "/", "book", "xn--bcher-kva.example"),
    ("C021", ACCENT, "c.example", "/%c3%a9", "accent", "c.example"),
    ("C022", ESCAPED, "a", "/%66oo", "foo", "a"),
    ("C023", TWICE, "a", "/x", "first", "a"),
]


@pytest.mark.parametrize(
    ("lines", "host", "target", "expected", "seen"),
    [row[1:] for row in SELECTED],
    ids=[row[0] for row in SELECTED],
)
@case
async def test_the_line_that_is_taken(
    stage: Stage, lines: tuple[str, ...], host: str, target: str, expected: str, seen: str
) -> None:
    await use(stage, *lines)
    assert await route_of(stage, host=host, target=target) == [expected]
    if seen:
        assert stage.origin.requests[0].headers[0][0] == "Host"
        assert stage.origin.requests[0].all("Host") == [seen]
        assert stage.origin.requests[0].target == target.replace("%c3%a9", "%C3%A9").replace("%66", "f")


@case
async def test_c016_a_handshake_is_not_plain_http(stage: Stage) -> None:
    await use(stage, "h.example,proto=http B")
    client = await stage.client()
    client.send(
        b"GET / HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    body = NO_ROUTE
    await client.expect(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await client.closed()
    await stage.proxy.logged(f"GET ws://h.example/ code=502 {len(body)}")


@case
async def test_c017_tls(stage: Stage, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trusted = Certificate.loadPEM(Path(authority.file).read_bytes())
    await use_file(
        stage,
        tmp_path,
        "*,ssl=yes,header=X-R:s B",
        "*,header=X-R:p B",
        runner={"https_ports": "127.0.0.1:0"},
    )
    certificates = tmp_path / "runner" / "certs"
    certificates.mkdir(parents=True)
    for made, suffix in zip(authority.certificate("a.example"), ("crt", "key"), strict=True):
        Path(made).rename(certificates / f"a.example.{suffix}")
    address = stage.proxy.service.client_addresses[1]  # type: ignore[attr-defined]
    client = await stage.connect(address, tls=optionsForClientTLS("a.example", trusted))
    client.request(host="a.example")
    await client.expect(OK)
    assert stage.origin.requests[0].all("X-R") == ["s"]
    assert stage.proxy.lines()[-1].startswith("GET https://a.example/ -> ")
    assert await route_of(stage) == ["p"]


# ---- what a line changes -----------------------------------------------------------------------------------

REWRITTEN = [
    ("C024", "b.example,path_beg=/x/,replace_beg=/y/ B", "/x/abc?d=e", "b.example", "/y/abc?d=e"),
    ("C025", "g.example,path_beg=/abc,replace_beg= B", "/abc", "g.example", "/"),
    ("C026", "d.example,path_beg=/a,path_rem=5,replace_beg=/z B", "/abcdef", "d.example", "/zbcdef"),
    ("C028", "i.example,path_rem=100 B", "/abc?x", "i.example", "/?x"),
    ("C029", "a.example,as_host=foo.example:81 B", "/", "foo.example:81", "/"),
    ("C030", "h.example,as_host=q.example B,host=r.example:99", "/", "r.example:99", "/"),
]


@pytest.mark.parametrize(
    ("line", "target", "host", "seen"), [row[1:] for row in REWRITTEN], ids=[row[0] for row in REWRITTEN]
)
@case
async def test_rewriting(stage: Stage, line: str, target: str, host: str, seen: str) -> None:
    await use(stage, line)
    asked_host = line.partition(",")[0]
    assert await route_of(stage, host=asked_host, target=target) == []
    request = stage.origin.requests[0]
    assert (request.target, request.all("Host")) == (seen, [host])
    await stage.proxy.logged(f"GET http://{asked_host}{target} -> {stage.origin.address} code=200 3")


@case
async def test_c027_nothing_of_the_path_is_left(stage: Stage) -> None:
    await use(stage, "c.example,path_rem=3 B")
    answer = await (await stage.ask("/abcdef", host="c.example")).read_response()
    assert (answer.status, answer.body) == (502, b"Error while proxying to origin.\n")
    assert stage.origin.requests == []


@case
async def test_c031_of_two_headers_the_first(stage: Stage) -> None:
    await use(stage, 'j.example,header="X-R:  v1",header=X-R:v2 B')
    assert await route_of(stage, host="j.example") == ["v1"]


@case
async def test_c032_a_header_taken_away(stage: Stage) -> None:
    await use(stage, "f.example,header=User-Agent: B")
    await route_of(stage, "User-Agent: t", host="f.example")
    assert stage.origin.requests[0].all("User-Agent") == []


@case
async def test_c033_a_signature_cannot_be_set(stage: Stage) -> None:
    await use(stage, "k.example,header=Grip-Sig:foo B")
    await route_of(stage, host="k.example")
    (signature,) = stage.origin.requests[0].all("Grip-Sig")
    assert signature.count(".") == 2


# ---- Pushpin-Route -----------------------------------------------------------------------------------------

NAMED = ("id=rb,header=X-R:b B", "*,header=X-R:star B")
SHARED = ("id=dup,header=X-R:1 B", "z,id=dup,header=X-R:2 B", "a.example,header=X-R:a B")

BY_ID = [
    ("C034", NAMED, "rb", ["b"]),
    ("C035", NAMED, "nosuch", ["none"]),
    ("C036", SHARED, "dup", ["a"]),
]


@pytest.mark.parametrize(("lines", "wanted", "expected"), [r[1:] for r in BY_ID], ids=[r[0] for r in BY_ID])
@case
async def test_routes_by_id(stage: Stage, lines: tuple[str, ...], wanted: str, expected: list[str]) -> None:
    await use(stage, *lines, proxy={"accept_pushpin_route": "true"})
    assert await route_of(stage, f"Pushpin-Route: {wanted}") == expected
    assert all(request.all("Pushpin-Route") == [] for request in stage.origin.requests)


@case
async def test_c037_an_implicit_id(stage: Stage, tmp_path: Path) -> None:
    lines = ("a.example,header=X-R:a B", "*,header=X-R:star B")
    await use_file(stage, tmp_path, *lines, proxy={"accept_pushpin_route": "true"})
    assert await route_of(stage, "Pushpin-Route: *,*,*,*") == ["star"]
    assert await route_of(stage) == ["a"]


@case
async def test_c038_not_everybody_may_choose(stage: Stage) -> None:
    await use(stage, *NAMED)
    assert await route_of(stage, "Pushpin-Route: rb") == ["star"]
    assert stage.origin.requests[0].all("Pushpin-Route") == ["rb"]


# ---- reading the file again --------------------------------------------------------------------------------

CHANGED = "routes file changed, reloading"


def in_place(stage: Stage, path: Path) -> None:
    write(stage, path, "*,header=X-R:new B")


def by_rename(stage: Stage, path: Path) -> None:
    beside = path.with_name("routes.tmp")
    write(stage, beside, "*,header=X-R:new B")
    os.replace(beside, path)


async def noticed(proxy: Proxy, before: int) -> None:
    """The change was seen; the second until reading begins is running."""
    clock = proxy.clock  # type: ignore[attr-defined]
    await until(lambda: len(clock.getDelayedCalls()) > before, "a sign of the change")


def delayed(stage: Stage) -> int:
    return len(stage.proxy.clock.getDelayedCalls())  # type: ignore[attr-defined]


@pytest.mark.parametrize("change", [in_place, by_rename], ids=["C039", "C040"])
@case
async def test_a_changed_file(stage: Stage, tmp_path: Path, change: Callable[[Stage, Path], None]) -> None:
    path = await use_file(stage, tmp_path, "*,header=X-R:old B")
    client = await stage.client()
    assert await route_of(stage) == ["old"]
    before = delayed(stage)
    change(stage, path)
    await noticed(stage.proxy, before)
    await stage.proxy.advance(0.9)
    assert await route_of(stage) == ["old"]
    logged = len(stage.proxy.lines())
    await stage.proxy.advance(0.11)
    assert stage.proxy.lines()[logged:] == [CHANGED, "routes loaded with 1 entries"]
    assert await route_of(stage) == ["new"]
    await serves(stage, client, "new")


async def serves(stage: Stage, client: RawClient, expected: str) -> None:
    """Connections made before are served by the new table."""
    client.request()
    await client.expect(OK)
    assert stage.origin.requests[-1].all("X-R") == [expected]


@case
async def test_c041_c042_deleted_and_made_anew(stage: Stage, tmp_path: Path) -> None:
    path = await use_file(stage, tmp_path, "*,header=X-R:old B")
    before = delayed(stage)
    path.unlink()
    await noticed(stage.proxy, before)
    await stage.proxy.advance(1.01)
    assert stage.proxy.lines()[-2:] == [CHANGED, "unable to open routes file: routes"]
    assert stage.proxy.log.warnings == ["unable to open routes file: routes"]  # type: ignore[attr-defined]
    assert await route_of(stage) == ["old"]
    before = delayed(stage)
    write(stage, path, "*,header=X-R:new B", "other.example test")
    await noticed(stage.proxy, before)
    await stage.proxy.advance(1.01)
    assert stage.proxy.lines()[-2:] == [CHANGED, "routes loaded with 2 entries"]
    assert await route_of(stage) == ["new"]


@case
async def test_c043_emptied(stage: Stage, tmp_path: Path) -> None:
    path = await use_file(stage, tmp_path, "*,header=X-R:old B", "a.example,header=X-R:a B")
    assert await route_of(stage) == ["a"]
    before = delayed(stage)
    path.write_text("")
    await noticed(stage.proxy, before)
    await stage.proxy.advance(1.01)
    assert stage.proxy.lines()[-2:] == [CHANGED, "routes loaded with 0 entries"]
    assert await route_of(stage) == ["none"]
    assert await route_of(stage, host="zzz") == ["none"]


@case
async def test_c044_reload_on_request_is_at_once(stage: Stage, tmp_path: Path) -> None:
    """The word ``reloading`` is the command's, who gets the signal."""
    path = await use_file(stage, tmp_path, "*,header=X-R:old B")
    before = delayed(stage)
    write(stage, path, "*,header=X-R:new B")
    await noticed(stage.proxy, before)
    stage.proxy.service.reload()  # type: ignore[attr-defined]
    assert stage.proxy.lines()[-1] == "routes loaded with 1 entries"
    assert await route_of(stage) == ["new"]
    await stage.proxy.advance(2)
    assert CHANGED not in stage.proxy.lines()


@case
async def test_c215_lines_are_not_read_again(stage: Stage) -> None:
    await use(stage, "*,header=X-R:line B")
    before = stage.proxy.lines()
    stage.proxy.service.reload()  # type: ignore[attr-defined]
    assert stage.proxy.lines() == before
    assert await route_of(stage) == ["line"]


@case
async def test_a_request_under_way_keeps_its_route(stage: Stage, tmp_path: Path) -> None:
    path = await use_file(stage, tmp_path, "*,header=X-R:old,id=old B")
    stage.origin.answers(b"")
    client = await stage.ask(host="a.example")
    first = await stage.origin.request(1)
    path.write_text("")
    stage.proxy.service.reload()  # type: ignore[attr-defined]
    first.write(OK)
    await client.expect(OK)
    await stage.proxy.logged(f"GET http://a.example/ -> {stage.origin.address} route=old code=200 3")
