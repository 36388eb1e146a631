"""Next links: the request, the way it goes, the response, and who shares it (grip 10.2 to 10.4)."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest

from pushpin_tw.errors import OriginBlocked, OriginDisconnected, OriginError, OriginUnreachable
from pushpin_tw.grip.terms import LinkRequest
from pushpin_tw.proxy.convoy import LAG
from pushpin_tw.proxy.fetching import MAX_KEPT
from pushpin_tw.routing.rewrite import FEATURES
from tests.pure.proxy.linkscene import AbortingSink, LinkScene, fields
from tests.pure.proxy.scene import Call
from tests.pure.routing.tables import NOW, Section

ASKED = ["a: GET /n (0)", "a: end"]
FAILED = "Failed to retrieve next link."


def asked(scene: LinkScene) -> Call:
    """Let the reactor go round once; the request is on its way then."""
    scene.turn()
    assert scene.said()[-1].endswith(": end")
    return scene.a


# ---- the request -------------------------------------------------------------------------------------------


def test_a_link_is_followed() -> None:
    scene = LinkScene()
    scene.follows()
    assert scene.said() == [] and scene.links.started == 0
    scene.turn()
    assert scene.said() == ASKED and scene.links.started == 1
    scene.a.responds(200, "Grip-Hold: stream", "Grip-Channel: c", "X-B: 2").sends(b"one ", b"two")
    assert scene.said() == ["x: stream c", "x: one ", "x: two"]
    scene.a.ends()
    assert scene.said() == ["x: end"]
    assert scene.linked() == ["GET http://h/n code=200 7"]


def test_the_request_has_nothing_of_the_client() -> None:
    scene = LinkScene("*,header=X-Route:r,orig_headers a:1")
    scene.follows(request=scene.request("http://h/n?x=1", ("c", "4"), ("d;e", "ü")))
    scene.turn()
    assert scene.said() == ["a: GET /n?x=1 (0)", "a: end"]
    request = scene.a.request
    assert fields(request) == [
        "Host: h",
        "X-Route: r",
        "Grip-Sig",
        "Grip-Last: c; last-id=4",
        "Grip-Last: d;e; last-id=ü",
    ]
    assert (b"Grip-Feature", FEATURES) in request.headers
    assert request.length == 0


def test_an_id_that_cannot_stand_in_a_header_is_not_told() -> None:
    scene = LinkScene()
    scene.follows(request=scene.request("http://h/n", ("c", "4\r\nX: y")))
    assert fields(asked(scene).request) == ["Host: h", "Grip-Sig"]


def test_the_route_is_applied_to_links_as_to_requests() -> None:
    scene = LinkScene("*,path_beg=/v1,replace_beg=/internal a:1,host=other", Section(cdn_loop="pp"))
    scene.follows(request=scene.request("http://h/v1/n", place=scene.place("http://h/v1/")))
    scene.turn()
    assert scene.said() == ["a: GET /internal/n (0)", "a: end"]
    assert fields(scene.a.request) == ["Host: other", "CDN-Loop: pp", "Grip-Sig"]


@pytest.mark.parametrize(
    ("client", "link", "target"),
    [
        ("http://h/", "http://h:80/n", "a"),
        ("http://h:80/", "http://h/n", "a"),
        ("http://h:81/", "http://H:81/n", "a"),
        ("https://h/", "https://h:443/n", "a"),
        ("ws://h/", "http://h/n", "a"),
        ("wss://h/", "https://h/n", "a"),
        ("http://[::1]/", "http://[0:0::1]/n", "a"),
        ("http://h/", "http://h:81/n", "h:81"),
        ("http://h/", "https://h/n", "h:443 ssl"),
        ("https://h/", "http://h/n", "h:80"),
        ("http://h/", "http://other/n", "other:80"),
        ("http://h/", "http://[::2]:8000/n", "[::2]:8000"),
        ("http://h/", "https://other?x", "other:443 ssl"),
    ],
)
def test_links_to_the_clients_own_host_go_through_its_route(client: str, link: str, target: str) -> None:
    scene = LinkScene("* a:1")
    scene.follows(request=scene.request(link, place=scene.place(client)))
    scene.turn()
    scene.said()
    if target == "a":
        assert scene.targets == [] and len(scene["a:1"].calls) == 1
    else:
        (reached,) = scene.targets
        assert reached.label + " ssl" * reached.ssl == target
        assert not reached.untrusted


def test_a_direct_request_is_signed_with_the_routes_key() -> None:
    scene = LinkScene("h,sig_key=other,path_beg=/v a:1,untrusted\n* b:2")
    place = scene.place("http://h/v")
    scene.follows(request=scene.request("https://other:8443/n?x", ("c", "1"), place=place))
    scene.turn()
    assert scene.said() == ["other: GET /n?x (0)", "other: end"]
    (target,) = scene.targets
    assert (target.untrusted, target.ssl, target.insecure) == (True, True, False)
    request = scene["other:8443"].call.request
    assert fields(request) == ["Host: other:8443", "Grip-Sig", "Grip-Last: c; last-id=1"]
    assert place.signer is not None
    assert (b"Grip-Sig", place.signer.token(1_000_000)) in request.headers
    assert (request.host, request.secure, request.path, request.query) == ("other", True, b"/n", b"x")


def test_without_a_key_nothing_is_signed() -> None:
    scene = LinkScene()
    unsigned = scene.place().__class__("*,*,*,*", None, "http", "h", 80, False, False)
    scene.follows(request=scene.request("http://other/n", place=unsigned))
    scene.turn()
    assert fields(scene["other:80"].call.request) == ["Host: other"]


def test_a_link_outside_the_routes_path_is_direct() -> None:
    scene = LinkScene("*,path_beg=/v a:1")
    scene.follows(request=scene.request("http://h/%2e%2e/n", place=scene.place("http://h/v")))
    scene.turn()
    assert scene.said() == ["h: GET /n (0)", "h: end"]


def test_the_route_of_the_moment_is_asked() -> None:
    scene = LinkScene("*,id=r a:1")
    place = scene.place()
    scene.table = LinkScene("*,id=r b:2").table
    scene.follows(request=scene.request(place=place))
    scene.turn()
    assert scene.said() == ["b: GET /n (0)", "b: end"]
    scene.table = LinkScene("*,id=other b:2").table
    scene.follows(request=scene.request("http://h/m", place=place))
    scene.turn()
    assert scene.said() == ["h: GET /m (0)", "h: end"]


def test_of_several_routes_with_the_id_the_uri_chooses() -> None:
    scene = LinkScene("*,path_beg=/n,id=r a:1\n*,path_beg=/m,id=r b:2")
    place = scene.place("http://h/m")
    scene.follows(request=scene.request(place=place))
    scene.turn()
    assert scene.said() == ASKED
    scene.follows(request=scene.request("http://h/other", place=place))
    scene.turn()
    assert scene.said() == ["h: GET /other (0)", "h: end"]


def test_the_next_target_when_one_cannot_be_reached() -> None:
    scene = LinkScene("* a:1 b:2")
    scene.follows()
    asked(scene).fails(OriginUnreachable("refused"))
    assert scene.said() == ["b: GET /n (0)", "b: end"]
    scene["b:2"].call.responds().sends(b"yes").ends()
    assert scene.said() == ["x: none", "x: yes", "x: end"]


def test_no_other_target_after_an_answer_or_another_error() -> None:
    scene = LinkScene("* a:1 b:2")
    for error in (OriginError("closed"), OriginBlocked("private address")):
        scene.follows()
        asked(scene).fails(error)
        assert scene.said() == ["x: failed"]
    scene.follows()
    asked(scene).responds().sends(b"half").fails(OriginUnreachable("strange"))
    assert scene.said() == ["x: none", "x: half", "x: failed"]
    assert scene.linked() == ["GET http://h/n code=200 4"]


def test_all_targets_fail_within_fetch() -> None:
    scene = LinkScene("* a:1 b:2")
    for label in ("a:1", "b:2"):
        scene[label].within = lambda call: call.fails(OriginUnreachable("refused"))
    scene.follows()
    scene.turn()
    assert scene.said() == ["a: GET /n (0)", "b: GET /n (0)", "x: failed"]


def test_an_answer_within_fetch() -> None:
    scene = LinkScene()
    scene["a:1"].within = lambda call: call.responds().sends(b"at once").ends()
    scene.follows()
    scene.turn()
    assert scene.said() == ["a: GET /n (0)", "x: none", "x: at once", "x: end"]


def test_a_sink_that_goes_within_fetch() -> None:
    scene = LinkScene()
    scene["a:1"].within = lambda call: call.responds().sends(b"at once", b"more")
    sink = scene.follows()
    sink.on_data = sink.goes
    scene.turn()
    assert scene.said() == ["a: GET /n (0)", "x: none", "x: at once", "a: cancel"]


@pytest.mark.parametrize("uri", ["http://h/" + "x" * 5000, "http://-..-/n"])
def test_what_can_never_be_asked_is_not_tried_again(uri: str) -> None:
    scene = LinkScene()
    scene.follows(request=scene.request(uri))
    scene.turn()
    assert scene.said() == [f"x: failed: {FAILED}"]


def test_a_path_that_a_route_cannot_express() -> None:
    scene = LinkScene("*,path_beg=/v,path_rem=2 a:1")
    scene.follows(request=scene.request("http://h/vx", place=scene.place("http://h/v")))
    scene.turn()
    assert scene.said() == ["x: failed"]


# ---- the response ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (500, [], "failed"),
        (302, ["Location: /m"], "failed"),
        (199, [], "failed"),
        (300, [], "failed"),
        (500, ["Grip-Hold: stream", "Grip-Channel: c"], "failed"),
        (500, ["Grip-Hold: bogus"], "failed: Grip-Hold must be set to either 'response' or 'stream'"),
        (200, ["Grip-Hold: response"], "failed: Next link returned non-stream hold."),
        (200, ["Grip-Link: <a,b>; rel=next"], "failed: failed to parse Grip-Link value"),
        (
            200,
            ["Content-Type: application/grip-instruct"],
            "failed: failed to parse application/grip-instruct content as JSON",
        ),
        (200, ["Grip-Status: 404 Nope"], "none"),
        (299, [], "none"),
    ],
)
def test_what_heads_lead_to(status: int, headers: list[str], outcome: str) -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds(status, *headers)
    said = ["a: cancel", f"x: {outcome}"] if outcome.startswith("failed") else [f"x: {outcome}"]
    assert scene.said() == said
    if len(said) == 2:
        assert scene.linked() == [f"GET http://h/n code={status} 0"]


def test_links_are_relative_to_what_was_fetched() -> None:
    scene = LinkScene()
    sink = scene.follows(request=scene.request("http://other/x/n"))
    seen = []
    sink.link_opened = seen.append  # type: ignore[method-assign]
    scene.turn()
    scene["other:80"].call.responds(200, "Grip-Link: <m?1>; rel=next")
    assert seen[0].next_link.uri == "http://other/x/m?1"


def test_a_body_that_breaks_off_is_no_complete_one() -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds().fails(OriginDisconnected("closed within a response"))
    assert scene.said() == ["x: none", "x: failed"]


def test_bodies_go_through_their_own_filters() -> None:
    scene = LinkScene()
    scene.follows()
    call = asked(scene).responds(200, "Grip-Hold: stream", "Grip-Channel: c; filter=upper")
    call.sends(b"abc", b"d").ends()
    assert scene.said() == ["x: stream c", "x: ABC", "x: D", "x: .", "x: end"]
    assert scene.linked() == ["GET http://h/n code=200 4"]


def test_a_filter_that_refuses() -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds(200, "Grip-Channel: c; filter=upper").sends(b"ab", b"!")
    assert scene.said() == ["x: none c", "x: AB", "a: cancel", "x: failed: filter error: build-id: no"]


def test_a_filter_that_misses_something() -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds(200, "Grip-Channel: c; filter=upper").sends(b"ab?").ends()
    assert scene.said() == ["x: none c", "x: AB?", "x: failed: filter error: build-id: not all"]
    sink = scene.follows()
    sink.on_data = sink.goes
    packed = gzip.compress(b"all of it?")
    asked(scene).responds(200, "Content-Encoding: gzip", "Grip-Channel: c; filter=upper").sends(packed).ends()
    assert scene.said() == ["x: none c", "x: ALL OF IT?"]
    scene.follows()
    asked(scene).responds(200, "Grip-Channel: c; filter=upper", "Content-Encoding: gzip")
    scene.a.sends(gzip.compress(b"!")).ends()
    assert scene.said() == ["x: none c", "x: failed: filter error: build-id: no"]


def test_a_bug_in_a_filter() -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds(200, "Grip-Channel: c; filter=broken")
    assert scene.crashed() == ["a: cancel", "x: failed"]


def test_a_body_that_nobody_wanted_encoded() -> None:
    scene = LinkScene()
    packed = gzip.compress(b"text")
    scene.follows()
    call = asked(scene).responds(200, "Content-Encoding: gzip", "Grip-Channel: c; filter=upper")
    call.sends(packed[:5], packed[5:])
    assert scene.said() == ["x: none c"]
    call.ends()
    assert scene.said() == ["x: TEXT", "x: .", "x: end"]


@pytest.mark.parametrize("coding", ["identity", "IDENTITY"])
def test_identity_is_no_encoding(coding: str) -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds(200, f"Content-Encoding: {coding}").sends(b"as it is")
    assert scene.said() == ["x: none", "x: as it is"]


def test_encoded_bodies_have_limits() -> None:
    scene = LinkScene()
    scene.follows()
    asked(scene).responds(200, "Content-Encoding: br").sends(b"?").ends()
    assert scene.said() == ["x: none", "x: failed: response has an unsupported Content-Encoding"]
    scene.follows()
    asked(scene).responds(200, "Content-Encoding: gzip").sends(bytes(100_001))
    assert scene.said() == [
        "x: none",
        "a: cancel",
        "x: failed: response body is too large to be decoded",
    ]
    scene.follows()
    asked(scene).responds(200, "Content-Encoding: gzip").sends(gzip.compress(bytes(100_001))).ends()
    assert scene.said() == ["x: none", "x: failed: decoded response body is too large"]
    scene.follows()
    asked(scene).responds(200, "Content-Encoding: gzip").ends()
    assert scene.said() == ["x: none", "x: end"]


# ---- sharing -----------------------------------------------------------------------------------------------


def test_equal_links_are_fetched_once() -> None:
    """Grip 17.6/136, but for the query."""
    scene = LinkScene()
    request = scene.request("http://h/n", ("c", "1"), ("d", "2"))
    turned = scene.request("http://h/n", ("d", "2"), ("c", "1"))
    scene.follows("x", request)
    scene.follows("y", turned)
    asked(scene).responds(200, "Grip-Hold: stream", "Grip-Channel: c")
    assert len(scene["a:1"].calls) == 1
    assert scene.said() == ["x: stream c", "y: stream c"]
    scene.a.sends(b"body").ends()
    assert scene.said() == ["x: body", "y: body", "x: end", "y: end"]
    assert scene.linked() == ["GET http://h/n code=200 4"]
    assert scene.links.started == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda scene: scene.request("http://h/n?u=2"),
        lambda scene: scene.request("http://h/n", ("c", "1")),
        lambda scene: scene.request("http://h/n", place=scene.place("http://k/")),
        lambda scene: scene.request("http://h/n", place=scene.place("http://h/", target=1)),
    ],
    ids=["query", "ids", "host", "trust"],
)
def test_what_could_differ_is_not_shared(other: Callable[[LinkScene], LinkRequest]) -> None:
    """Grip 17.6/136: of links that differ in the query, the original fetches but one."""
    scene = LinkScene("* a:1 b:2,untrusted")
    scene.follows("x")
    scene.follows("y", other(scene))
    scene.turn()
    assert scene.links.started == 2


def test_only_what_was_sent_late_enough_is_shared() -> None:
    scene = LinkScene()
    scene.follows("x", after=0)
    early = asked(scene)
    scene.follows("y", after=scene.links.started)
    asked(scene)
    scene.follows("z", after=1)
    scene.turn()
    assert scene.links.started == 2
    scene.a.responds().sends(b"new").ends()
    assert scene.said() == ["y: none", "z: none", "y: new", "z: new", "y: end", "z: end"]
    early.responds().sends(b"old").ends()
    assert scene.said() == ["x: none", "x: old", "x: end"]


def test_one_that_is_not_sent_yet_is_late_enough() -> None:
    scene = LinkScene()
    scene.follows("x", scene.request("http://h/m"))
    scene.turn()
    scene.follows("x", after=1)
    scene.follows("y", after=1)
    scene.turn()
    assert scene.links.started == 2


def test_latecomers_get_what_was_missed_first() -> None:
    scene = LinkScene()
    scene.follows("x")
    call = asked(scene).responds(200, "Grip-Channel: c; filter=upper").sends(b"one ")
    scene.follows("y")
    assert scene.said() == ["x: none c", "x: ONE "]
    scene.turn()
    assert scene.said() == ["y: none c", "y: ONE "]
    scene.follows("z")
    call.sends(b"two")
    assert scene.said() == ["x: TWO", "y: TWO", "z: none c", "z: ONE ", "z: TWO"]
    scene.turn()
    scene.follows("w")
    call.ends()
    ends = [line for line in scene.said() if line[0] == "w"]
    assert ends == ["w: none c", "w: ONE TWO", "w: .", "w: end"]
    assert len(scene["a:1"].calls) == 1


def test_who_comes_within_a_delivery_misses_nothing() -> None:
    scene = LinkScene()
    sink = scene.follows("x")
    names = iter("yz")

    def join() -> None:
        for name in names:
            scene.follows(name)
            break

    sink.on_data = join
    asked(scene).responds().sends(b"a" * MAX_KEPT)
    scene.turn()
    assert scene.said() == ["x: none", "x: 100000 bytes", "y: none", "y: 100000 bytes"]
    scene.a.sends(b"b")
    assert scene.said() == ["x: b", "y: b", "z: none", "z: 100001 bytes"]
    scene.a.ends()
    assert len(scene["a:1"].calls) == 1


def test_nobody_joins_after_much_of_the_body() -> None:
    scene = LinkScene()
    scene.follows("x")
    first = asked(scene).responds().sends(bytes(MAX_KEPT))
    scene.follows("y")
    first.sends(b"more")
    assert [line.partition(": ")[0] for line in scene.said()] == ["x", "x", "x", "y", "y", "y"]
    scene.follows("z")
    scene.turn()
    assert len(scene["a:1"].calls) == 2


@pytest.mark.parametrize(
    "end", [Call.ends, lambda call: call.fails(OriginError("closed"))], ids=["complete", "broken off"]
)
def test_nobody_joins_what_is_over(end: Callable[[Call], None]) -> None:
    scene = LinkScene()
    scene.follows("x")
    end(asked(scene).responds())
    scene.follows("z")
    scene.turn()
    assert len(scene["a:1"].calls) == 2


def test_who_goes_on_at_the_end_asks_anew() -> None:
    """A link that leads to itself."""
    scene = LinkScene()
    sink = scene.follows("x")
    sink.on_end = lambda: scene.follows("x")
    asked(scene).responds().ends()
    assert scene.said() == ["x: none", "x: end"]
    scene.turn()
    assert scene.said() == ASKED


@pytest.mark.parametrize(
    "end", [Call.ends, lambda call: call.fails(OriginError("closed"))], ids=["complete", "broken off"]
)
def test_who_goes_on_before_others_are_told_of_the_end_asks_anew(end: Callable[[Call], None]) -> None:
    scene = LinkScene()
    first = scene.follows("x")
    scene.follows("y")
    first.on_end = lambda: scene.follows("z")
    end(asked(scene).responds())
    assert not [line for line in scene.said() if line.startswith("z")]
    scene.turn()
    assert len(scene["a:1"].calls) == 2


def test_with_the_last_one_the_request_goes() -> None:
    scene = LinkScene()
    x, y = scene.follows("x"), scene.follows("y")
    asked(scene).responds()
    scene.said()
    x.goes()
    x.call.cancel()
    assert scene.said() == []
    scene.a.sends(b"one")
    y.goes()
    assert scene.said() == ["y: one", "a: cancel"]
    scene.follows("z")
    assert asked(scene) is not None
    assert len(scene["a:1"].calls) == 2


def test_a_request_that_nobody_wants_any_more_is_not_sent() -> None:
    scene = LinkScene()
    scene.follows("x").goes()
    scene.follows("y")
    scene.turn()
    assert scene.said() == ASKED
    assert scene.links.started == 1


def test_a_latecomer_that_goes_at_once() -> None:
    scene = LinkScene()
    scene.follows("x")
    asked(scene).responds()
    scene.follows("y").goes()
    scene.turn()
    assert scene.said() == ["x: none"]


def test_a_sink_with_a_bug_costs_itself() -> None:
    scene = LinkScene()
    x, y = scene.follows("x", kind=AbortingSink), scene.follows("y")
    x.broken = True
    asked(scene).responds().sends(b"a").ends()
    assert scene.crashed(2) == ["x: none", "x: abort", "y: none", "y: a", "y: end"]
    y.call.cancel()
    z = scene.follows("z")
    asked(scene)
    z.broken = True
    scene.a.responds()
    assert scene.crashed() == ["z: none", "a: cancel"]


# ---- the pace ----------------------------------------------------------------------------------------------


def test_a_slow_sink_sets_the_pace() -> None:
    scene = LinkScene()
    sink = scene.follows("x")
    sink.call.pause()
    scene.turn()
    assert scene.said() == [*ASKED, "a: pause"]
    sink.call.pause()
    sink.call.resume()
    sink.call.resume()
    assert scene.said() == ["a: resume"]
    scene.a.responds()
    sink.call.pause()
    scene.clock.advance(10 * LAG, step=1.0)
    assert scene.said() == ["x: none", "a: pause"], "nobody else waits"
    sink.goes()
    assert scene.said() == ["a: cancel"]
    sink.call.pause()
    sink.call.resume()
    assert scene.said() == []


def test_the_slowest_of_several_sets_the_pace() -> None:
    scene = LinkScene()
    x, y = scene.follows("x"), scene.follows("y")
    asked(scene).responds()
    scene.said()
    x.call.pause()
    y.call.pause()
    assert scene.said() == ["a: pause"]
    x.call.resume()
    assert scene.said() == []
    y.goes()
    assert scene.said() == ["a: resume"]


def test_one_that_is_too_slow_for_the_others_is_let_go() -> None:
    scene = LinkScene()
    x, _ = scene.follows("x"), scene.follows("y")
    asked(scene).responds()
    scene.said()
    x.call.pause()
    scene.clock.advance(LAG - 0.2)
    assert scene.said() == ["a: pause"]
    scene.clock.advance(0.5)
    assert scene.said() == ["a: resume", "x: failed: Failed to retrieve next link."]
    scene.a.sends(b"rest").ends()
    assert scene.said() == ["y: rest", "y: end"]


def test_the_time_counts_while_others_wait() -> None:
    scene = LinkScene()
    x, y = scene.follows("x"), scene.follows("y")
    asked(scene).responds()
    scene.said()
    x.call.pause()
    y.call.pause()
    scene.clock.advance(3 * LAG - 1, step=0.1)
    y.call.resume()
    scene.clock.advance(LAG - 0.5, step=0.1)
    assert scene.said() == ["a: pause"]
    scene.clock.advance(1.0, step=0.1)
    assert scene.said() == ["a: resume", "x: failed: Failed to retrieve next link."]


def test_who_joins_waits_from_then_on() -> None:
    scene = LinkScene()
    x = scene.follows("x")
    asked(scene).responds()
    x.call.pause()
    scene.clock.advance(3 * LAG, step=0.1)
    scene.follows("y")
    scene.clock.advance(LAG - 0.5, step=0.1)
    assert scene.said() == ["x: none", "a: pause", "y: none"]
    scene.clock.advance(1.0, step=0.1)
    assert scene.said() == ["a: resume", "x: failed: Failed to retrieve next link."]


def test_one_that_reads_again_in_time_stays() -> None:
    scene = LinkScene()
    x, _ = scene.follows("x"), scene.follows("y")
    asked(scene).responds()
    scene.said()
    x.call.pause()
    scene.clock.advance(LAG - 1, step=0.1)
    x.call.resume()
    scene.clock.advance(2 * LAG, step=0.1)
    assert scene.said() == ["a: pause", "a: resume"]


def test_the_signature_is_that_of_the_moment() -> None:
    scene = LinkScene()
    scene.clock.now = float(NOW)
    scene.follows()
    signer = scene.place().signer
    assert signer is not None
    assert (b"Grip-Sig", signer.token(NOW)) in asked(scene).request.headers


def test_places_of_many_clients_are_one_object() -> None:
    scene = LinkScene()
    assert scene.place("http://h/a") is scene.place("http://h:80/b")
