"""Routes files: grammar, properties, messages (proxy 1.2 to 1.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.errors import RouteSyntaxError
from pushpin_tw.routing.route import Condition, Target
from pushpin_tw.routing.routefile import (
    COMMAND_LINE,
    MAX_ZHTTP_SPECS,
    KeySource,
    parse_routes,
    split_line,
)
from pushpin_tw.routing.uri import Authority
from pushpin_tw.wire.gripsig import secret_key
from tests.pure.routing.tables import KEYS, NOW, TYPES, Kind, only, read

# ---- grammar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sections"),
    [
        ("", []),
        ("   ", []),
        ("# a comment", []),
        ("  *   test  # note", [("*", []), ("test", [])]),
        ("* test#note", [("*", []), ("test", [])]),
        ('*,header="X-R: a b#c,d" test', [("*", [("header", "X-R: a b#c,d")]), ("test", [])]),
        (
            r'*,header="X-Q: say \"hi\", ok" test',
            [("*", [("header", 'X-Q: say "hi", ok')]), ("test", [])],
        ),
        (r'a"b \\c"d,x="1""2" test', [(r"ab \cd", [("x", "12")]), ("test", [])]),
        (r"a\b test", [(r"a\b", []), ("test", [])]),
        ("id=foo 127.0.0.1:80", [("", [("id", "foo")]), ("127.0.0.1:80", [])]),
        ('"id=foo" test', [("", [("id", "foo")]), ("test", [])]),
        (",debug test", [("", [("debug", "")]), ("test", [])]),
        ('"" test', [("", []), ("test", [])]),
        ("*,a=b=c test", [("*", [("a", "b=c")]), ("test", [])]),
        ("*\ttest", [("*\ttest", [])]),
    ],
)
def test_split_line(line: str, sections: object) -> None:
    assert split_line(line) == sections


def test_c002_a_line_with_one_section() -> None:
    routes, warnings = read("a.example\n* B")
    assert warnings == ["routes:1: must specify condition and at least one target"]
    assert [route.condition.host for route in routes] == ["*"]


BAD_LINES = [
    ("a.example", "must specify condition and at least one target"),
    ("*\ttest", "must specify condition and at least one target"),
    ("*,proto=https test", "proto must be set to 'http' or 'ws'"),
    ("*,proto test", "proto must be set to 'http' or 'ws'"),
    ("*,ssl=true test", "ssl must be set to 'yes' or 'no'"),
    ("*,ssl test", "ssl must be set to 'yes' or 'no'"),
    ("*,path_beg= test", "path_beg cannot be empty"),
    ("*,jsonp_mode=both test", "jsonp_mode must be set to 'basic' or 'extended'"),
    ('*,jsonp_defmethod="GET /x" test', "jsonp_defmethod must be a method"),
    ("*,header=X test", "header must use format 'name:value'"),
    ("*,header=:v test", "header must use format 'name:value'"),
    ("*,header test", "header must use format 'name:value'"),
    ('*,header="X Y:v" test', "header must use format 'name:value'"),
    ("*,header=X:a\rY:b test", "header must use format 'name:value'"),
    ("*,header=X:a\0b test", "header must use format 'name:value'"),
    ("* 127.0.0.1", "target bad format"),
    ("* [::1]", "target invalid port"),
    ("* [zz]:80", "target bad format"),
    ("* :80", "target bad format"),
    ("* test/", "target bad format"),
    ("* test/x", "target bad format"),
    ("* zhttp", "target bad format"),
    ("* zhttp/somewhere", "target bad format"),
    ("* zhttp/tcp://127.0.0.1:0", "target invalid port"),
    ("* ,ssl", "target bad format"),
    ("* a:0", "target invalid port"),
    ("* a:65536", "target invalid port"),
    ("* a:http", "target invalid port"),
    ("* a:", "target invalid port"),
    ("* [::1]:x", "target invalid port"),
    ("* unix:/tmp/x", "target invalid port"),
    ("* zws/tcp://127.0.0.1:1", "target invalid port"),
    ("* http://h:80", "target invalid port"),
    ("* ::1:80", "target invalid port"),
    ('* "test', "unterminated quoted section"),
    ('* "b\\', "unterminated escape sequence"),
    ('* "b\\x"', "unexpected escape character: x"),
    ("*,=v test", "empty prop name"),
    ("=v test", "empty prop name"),
    ("*,,debug test", "expecting prop"),
    ('*,"" test', "empty prop name"),
    ("*, test", "expecting prop"),
    ("* test,", "expecting prop"),
    ("* test,#", "expecting prop"),
    ("*,as_host=a/b test", "as_host must use format 'host[:port]'"),
    ("* test,host=a:b", "host must use format 'host[:port]'"),
    ("*,id=a\x1bb test", "control character in line"),
    ("*,id=\udcff test", "invalid UTF-8"),
    ("* test,client_cert=/nowhere/c.pem", "unable to read client_cert: /nowhere/c.pem"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_bad_line_is_reported(line: str, message: str) -> None:
    """C003, C006, C047, C211 and more."""
    assert read(line) == ([], [f"routes:1: {message}"])


def test_c003_bad_lines_leave_the_good_ones_alone() -> None:
    text = "\n".join([line for line, _ in BAD_LINES[:20]] + ["* B"] + [line for line, _ in BAD_LINES[20:]])
    routes, warnings = read(text)
    assert [route.targets[0].label for route in routes] == ["127.0.0.1:9211"]
    numbers = [n for n in range(1, len(BAD_LINES) + 2) if n != 21]
    expected = [f"routes:{n}: {m}" for n, (_, m) in zip(numbers, BAD_LINES, strict=True)]
    assert warnings == expected


def test_one_bad_target_drops_the_whole_line() -> None:
    assert read("* B B:0") == ([], ["routes:1: target invalid port"])


def test_lines_may_end_in_crlf() -> None:
    routes, warnings = read("a test\r\n\r\nb test\r\n")
    assert ([route.condition.host for route in routes], warnings) == (["a", "b"], [])


def test_c023_a_repeated_condition_is_skipped() -> None:
    routes, warnings = read("*,path_beg=/x,id=one B\n*,path_beg=/x,id=two B")
    assert warnings == ["routes:2 skipping duplicate condition"]
    assert [route.id for route in routes] == ["one"]


def test_a_bad_line_occupies_no_condition() -> None:
    routes, warnings = read("* nowhere\n* B")
    assert (len(routes), len(warnings)) == (1, 1)


def test_c036_lines_without_a_host_are_never_duplicates() -> None:
    routes, warnings = read("id=dup B\nid=dup B")
    assert (len(routes), warnings) == (2, [])


def test_lines_of_the_command_line_are_all_line_one() -> None:
    _, warnings = read("* test\nbad", file=COMMAND_LINE)
    assert warnings == ["<route>:1: must specify condition and at least one target"]


def test_a_target_type_with_a_bug_costs_one_line() -> None:
    def explode(address: str) -> str:
        raise ZeroDivisionError("by\nzero")

    types = {**TYPES, "amqp": Kind("amqp", explode)}
    routes, warnings = parse_routes("* amqp/q\nb test", "f", types, KEYS)
    assert [route.condition.host for route in routes] == ["b"]
    assert warnings == ["f:1: target type failed: ZeroDivisionError: by zero"]


def test_a_target_type_of_somebody_else() -> None:
    types = {**TYPES, "amqp": Kind("amqp", str.upper)}
    [route], _ = parse_routes("* amqp/queue/a", "f", types, KEYS)
    assert route.targets == (Target("amqp", "QUEUE/A"),)
    assert route.targets[0].label == "amqp/QUEUE/A"


def test_without_a_type_for_addresses() -> None:
    assert parse_routes("* a:80", "f", {}, KEYS) == ([], ["f:1: target bad format"])


@given(st.text(st.sampled_from('*ab=," #\\\t:80/[]test\r\n\0é\udcff')))
def test_any_text_gives_routes_and_warnings(text: str) -> None:
    routes, warnings = read(text)
    lines = [line for line in text.split("\n") if line.strip(" ")]
    assert len(routes) + len(warnings) <= len(lines)


@given(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))
def test_quoting_takes_everything(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert split_line(f'*,x="{quoted}" test') == [("*", [("x", text)]), ("test", [])]


# ---- conditions --------------------------------------------------------------------------------------------


def test_a_condition() -> None:
    condition = only("a.example,proto=ws,ssl=no,path_beg=/foo B").condition
    assert condition == Condition("a.example", "ws", False, b"/foo")


@pytest.mark.parametrize(
    ("line", "route_id", "explicit"),
    [
        ("* B", "*,*,*,*", False),
        ("a,proto=http,ssl=yes,path_beg=/x B", "a,http,no-ssl,/x", False),
        ("a,ssl=no B", "a,*,ssl,*", False),
        ("*,id=foo B", "foo", True),
        ("*,id= B", "*,*,*,*", False),
    ],
)
def test_ids(line: str, route_id: str, explicit: bool) -> None:
    route = only(line)
    assert (route.id, route.explicit_id) == (route_id, explicit)


def test_properties_of_a_plain_line() -> None:
    route = only("* B")
    assert route.signer is not None
    assert route.signer.token(NOW).count(b".") == 2
    flags = (route.orig_headers, route.debug, route.aco, route.session, route.no_grip)
    assert flags == (False,) * 5
    assert (route.path_rem, route.replace_beg, route.as_host, route.log_level) == (0, b"", None, None)
    jsonp = (route.jsonp_mode, route.jsonp_cb, route.jsonp_body, route.jsonp_defcb, route.jsonp_defmethod)
    assert jsonp == ("extended", "callback", "", "", "GET")
    assert (route.set_headers, route.drop_headers) == ((), frozenset())


def test_all_properties() -> None:
    route = only(
        "*,path_beg=/a,prefix=p-,orig_headers,as_host=foo.example:81,path_rem=5,replace_beg=/z,debug,aco,"
        "jsonp_mode=basic,jsonp_cb=cb,jsonp_body=b,jsonp_defcb=d,session,sockjs=/sj,sockjs_as_path=/ws,"
        "no_grip,log_level=3,some_day=1 B"
    )
    assert (route.prefix, route.as_host) == ("p-", Authority("foo.example", 81))
    assert (route.path_rem, route.replace_beg) == (2, b"/z")
    assert (route.orig_headers, route.debug, route.aco, route.session, route.no_grip) == (True,) * 5
    jsonp = (route.jsonp_mode, route.jsonp_cb, route.jsonp_body, route.jsonp_defcb, route.jsonp_defmethod)
    assert jsonp == ("basic", "cb", "b", "d", "POST")
    assert (route.sockjs, route.sockjs_as_path, route.log_level) == (b"/sj", b"/ws", 3)


def test_c045_a_flag_is_on_whatever_its_value() -> None:
    assert only("*,debug=false B").debug


def test_the_last_of_repeated_properties_counts() -> None:
    assert only("*,prefix=a,prefix=b B").prefix == "b"


@pytest.mark.parametrize("text", ["x", "", "-3", "3x", "99999999999", "\u0663"])
def test_c214_what_is_no_number_counts_as_zero(text: str) -> None:
    assert only(f"*,path_rem={text} B").path_rem == 0


def test_an_odd_log_level_is_ignored() -> None:
    assert only("*,log_level=5 B").log_level is None


def test_replace_beg_is_encoded() -> None:
    assert only('*,path_beg=/a,replace_beg="/b c/./é?" B').replace_beg == b"/b%20c/%C3%A9%3F"


@pytest.mark.parametrize(
    ("properties", "appended", "dropped"),
    [
        ('header="X-R:  v1",header=X-R:v2', [(b"X-R", b"v1")], {b"x-r"}),
        ("header=A:1,header=B:2,header=C:3", [(b"C", b"3"), (b"B", b"2"), (b"A", b"1")], {b"a", b"b", b"c"}),
        ("header=A:1,header=B:2,header=a:3", [(b"B", b"2"), (b"A", b"1")], {b"a", b"b"}),
        ("header=User-Agent:", [], {b"user-agent"}),
        ("header=A:,header=A:1", [], {b"a"}),
        ("header=A:1,header=A:", [(b"A", b"1")], {b"a"}),
        ("header=A:b:c", [(b"A", b"b:c")], {b"a"}),
        ("header=A:é", [(b"A", "é".encode())], {b"a"}),
    ],
)
def test_header(properties: str, appended: object, dropped: object) -> None:
    route = only(f"*,{properties} B")
    assert (list(route.set_headers), route.drop_headers) == (appended, dropped)


# ---- targets -----------------------------------------------------------------------------------------------


def test_a_plain_target() -> None:
    assert only("* B").targets == (Target("", "127.0.0.1:9211"),)


def test_all_options() -> None:
    options = (
        "ssl,insecure,trust_connect_host,host=foo.example:8,untrusted,sub=a,sub=,sub=b,over_http,one_event"
    )
    assert only(f"* a:080,{options},ipc_file_mode=770 [0::1]:81").targets == (
        Target(
            "",
            "a:80",
            ssl=True,
            insecure=True,
            trust_connect_host=True,
            host=Authority("foo.example", 8),
            untrusted=True,
            subs=("a", "b"),
            over_http=True,
            one_event=True,
            ipc_file_mode=0o770,
        ),
        Target("", "[::1]:81"),
    )


@pytest.mark.parametrize("mode", ["9", "", "0o7", "x"])
def test_an_invalid_ipc_file_mode_is_ignored(mode: str) -> None:
    assert only(f"* zhttp/ipc:///tmp/x,ipc_file_mode={mode}").targets[0].ipc_file_mode is None


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("test", "test"),
        ("test:80", "test:80"),
        ("zhttp/tcp://127.0.0.1:1", "zhttp/tcp://127.0.0.1:1"),
        ("zhttpreq/ipc:///tmp/x", "zhttpreq/ipc:///tmp/x"),
    ],
)
def test_labels(word: str, label: str) -> None:
    assert only(f"* {word}").targets[0].label == label


def test_certificates_are_read_from_the_working_directory() -> None:
    asked: list[str] = []

    def read_local(path: str) -> bytes:
        asked.append(path)
        return b"PEM"

    line = "* B,client_cert=c.pem,client_key=k.pem"
    target = only(line, KeySource(read_local=read_local)).targets[0]
    assert (target.client_cert, target.client_key) == ("c.pem", "k.pem")
    assert asked == ["c.pem", "k.pem"]


def test_no_more_than_100_zhttp_specs() -> None:
    lines = [f"h{n} zhttp/ipc:///tmp/{n}" for n in range(MAX_ZHTTP_SPECS + 2)]
    routes, warnings = read("\n".join([*lines, "again zhttp/ipc:///tmp/7"]))
    assert len(routes) == MAX_ZHTTP_SPECS + 1
    assert warnings == [f"routes:{n}: more than 100 zhttp specs" for n in (101, 102)]


# ---- keys --------------------------------------------------------------------------------------------------


def test_signers_are_shared() -> None:
    """A token is made once per second, however many routes there are."""
    routes, _ = read("a B\nb B\nc,sig_iss=other B\nd,sig_iss=other B")
    assert routes[0].signer is routes[1].signer
    assert routes[2].signer is routes[3].signer
    assert routes[0].signer is not routes[2].signer


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (KeySource("", secret_key(b"k")), "* B"),
        (KeySource("pushpin", None), "* B"),
        (KeySource("pushpin", None), "*,sig_iss=x B"),
        (KeySource("", None), "*,sig_key=k B"),
    ],
)
def test_no_signature_without_issuer_or_key(keys: KeySource, line: str) -> None:
    """C076 and C077."""
    assert only(line, keys).signer is None


def test_c075_an_unreadable_key_file_leaves_the_global_key() -> None:
    signer = only("*,sig_key=file:missing B").signer
    assert signer is not None
    assert signer.token(NOW) == only("* B").signer.token(NOW)  # type: ignore[union-attr]


def test_c216_a_broken_key_file_means_no_signature() -> None:
    keys = KeySource("pushpin", secret_key(b"changeme"), lambda path: b"-----BEGIN PRIVATE KEY-----\nx")
    assert only("*,sig_key=file:broken.pem B", keys).signer is None


def test_no_secret_is_shown() -> None:
    assert "sesame" not in repr(only("*,sig_key=sesame B"))
    assert "sesame" not in repr(KeySource("i", secret_key(b"sesame")))


def test_messages_are_route_syntax_errors() -> None:
    with pytest.raises(RouteSyntaxError, match="expecting prop"):
        split_line("*,")
