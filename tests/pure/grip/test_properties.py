"""What holds for all instructions and links, whoever has written them.

Each parser's own tests feed it anything and look for surprises; here are the laws: what was written is what
is read, what was accepted can be answered, and a link leads where the RFC says.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urljoin

from hypothesis import assume, given
from hypothesis import strategies as st

from pushpin_tw.errors import InstructError
from pushpin_tw.grip.instruct import allows_long_body, client_headers, is_instruct, parse_instruct
from pushpin_tw.grip.links import resolve
from pushpin_tw.grip.params import parse_element, split_elements
from pushpin_tw.grip.template import Template
from pushpin_tw.grip.terms import MAX_FILTERS, Channel, Instruct, KeepAlive, NextLink
from pushpin_tw.wire.headers import is_value
from pushpin_tw.wire.message import Response
from tests.pure.grip.anything import QUOTABLE, TOKENS, check_whole

URI = "http://example.com/a/b?c=d"

# ---- words -------------------------------------------------------------------------------------------------

SPACES = st.sampled_from([b"", b" ", b"\t", b"  "])
PARAM_NAMES = st.text("abcmnop-", min_size=1, max_size=6).map(str.encode)


@st.composite
def written_param(draw: Any, name: bytes, value: bytes) -> bytes:
    """``name=value`` in one of the ways to write it, quoted where it must be."""
    plain = value.translate(None, b'";,\\') == value.strip() and value
    if plain and draw(st.booleans()):
        text = value
    else:
        text = (
            b'"'
            + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            + b'"'
            + draw(st.sampled_from([b"", b"junk"]))
        )
    return b"".join([draw(SPACES), name, draw(SPACES), b"=", draw(SPACES), text, draw(SPACES)])


@st.composite
def written_list(draw: Any, elements: list[bytes]) -> list[bytes]:
    """``elements`` spread over as many header lines as one likes."""
    lines: list[list[bytes]] = []
    for element in elements:
        if not lines or draw(st.booleans()):
            lines.append([])
        lines[-1].append(draw(SPACES) + element + draw(SPACES))
    return [b",".join(line) for line in lines]


@st.composite
def elements_with_params(draw: Any) -> tuple[bytes, tuple[bytes, list[tuple[bytes, bytes | None]]]]:
    """An element as it stands in a header, and what it means."""
    value = draw(TOKENS)
    params = draw(st.lists(st.tuples(PARAM_NAMES, QUOTABLE.map(str.encode)), max_size=4))
    written = [draw(written_param(name, content)) for name, content in params]
    return b";".join([value, *written]), (value, [(name, content or None) for name, content in params])


@given(st.lists(elements_with_params(), max_size=5), st.data())
def test_a_list_header_is_read_as_it_was_written(elements: list[Any], data: Any) -> None:
    lines = data.draw(written_list([written for written, _ in elements]))
    assert [parse_element(element) for element in split_elements(lines)] == [meant for _, meant in elements]


# ---- instructions ------------------------------------------------------------------------------------------

SOUND = st.sampled_from(
    [
        *(
            (b"Grip-Hold", b"stream"),
            (b"GRIP-HOLD", b"response"),
            (b"grip-channel", b"c; prev-id=1; filter=f"),
        ),
        *(
            (b"Grip-Channel", b'a, "b,c"; prev-id="", c'),
            (b"Grip-Timeout", b" 7 "),
            (b"Grip-Set-Meta", b"a=b, c"),
        ),
        *((b"Grip-Keep-Alive", b"x; timeout=0"), (b"Grip-Keep-Alive", b"\\n;format=cstring; mode=interval")),
        *((b"Grip-Status", b"404 No"), (b"Grip-Status", b"999"), (b"Grip-Expose-Headers", b"x-a,,x-b")),
        *((b"Grip-Link", b"</n>; rel=next"), (b"Grip-Link", b"<n>; rel=gone; timeout=1"), (b"Grip-X", b"")),
    ]
)
NAMES = ["Hold", "Channel", "Timeout", "Keep-Alive", "Set-Meta", "Status", "Link", "Expose-Headers"]
UNSOUND = st.tuples(
    st.sampled_from(NAMES).map(lambda name: b"Grip-" + name.encode()),
    st.sampled_from([b"c", b"5", b"-1", b"a=b", b"<//[::1>; rel=next", b"<>", b'"'])
    | st.binary(max_size=20).filter(is_value),
)
GRIP_HEADERS = st.lists(SOUND, max_size=5) | st.lists(SOUND | UNSOUND, max_size=8)
PLAIN_HEADERS = st.lists(
    st.sampled_from(
        [(b"X-A", b"1"), (b"Set-Cookie", b"a"), (b"content-length", b"5"), (b"Transfer-Encoding", b"chunked")]
    )
)
TYPES = st.sampled_from(
    [
        (b"Content-Type", b"application/grip-instruct"),
        (b"content-type", b"application/grip-instruct; charset=utf-8"),
        (b"Content-Type", b"text/plain"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
CHANNELS = st.lists(
    st.fixed_dictionaries(
        {"name": st.text()}, optional={"prev-id": st.text(), "filters": st.lists(st.text(), max_size=6)}
    ),
    max_size=3,
)
KEEP_ALIVES = st.fixed_dictionaries(
    {}, optional={"content": st.text(), "content-bin": st.text(), "timeout": st.integers() | st.floats(0, 9)}
)
HOLDS = st.fixed_dictionaries(
    {"channels": CHANNELS},
    optional={
        "mode": st.sampled_from(["stream", "response"]),
        "timeout": JSON,
        "keep-alive": KEEP_ALIVES,
        "meta": st.dictionaries(st.text(), st.text()),
    },
)
RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "code": st.integers(200, 999) | st.text(),
        "reason": QUOTABLE | st.text(),
        "headers": st.dictionaries(st.sampled_from(["X-A", "x-a", "Grip-Hold"]) | st.text(), QUOTABLE),
        "body": st.text(),
        "body-bin": st.text(),
    },
)
BODIES = (
    st.fixed_dictionaries({}, optional={"hold": HOLDS, "response": RESPONSES})
    | st.fixed_dictionaries({"hold": HOLDS | JSON, "response": RESPONSES | JSON})
).map(lambda value: json.dumps(value).encode()) | st.binary()
STATUSES = st.just(200) | st.integers(200, 999)


@given(STATUSES, GRIP_HEADERS, PLAIN_HEADERS, st.none() | TYPES, BODIES)
def test_an_instruction_that_is_accepted_can_be_answered(
    status: int, grip: list[Any], plain: list[Any], content_type: tuple[bytes, bytes] | None, body: bytes
) -> None:
    headers = [*plain, *(() if content_type is None else (content_type,)), *grip]
    as_json = content_type is not None and content_type[1].startswith(b"application/grip-instruct")
    response = Response(status, b"", headers)
    assert is_instruct(response) == bool(grip or as_json)
    assert not (as_json and allows_long_body(response))
    try:
        instruct = parse_instruct(response, body, URI)
    except InstructError as error:
        error.detail.encode()
        return
    check_instruct(instruct)
    assert as_json or set(instruct.headers) <= set(client_headers(headers))
    for minor, persistent, head_only in ((1, True, False), (0, False, False), (1, False, True)):
        check_whole(Template(instruct, minor, persistent, head_only).timeout())


def check_instruct(instruct: Instruct) -> None:
    assert instruct.mode in ("none", "response", "stream")
    assert 200 <= instruct.status <= 999 and is_value(instruct.reason)
    assert instruct.timeout >= 5
    names = [channel.name for channel in instruct.channels]
    assert len(set(names)) == len(names)
    assert all(len(channel.filters) <= MAX_FILTERS for channel in instruct.channels)
    assert instruct.keep_alive is None or (instruct.keep_alive.data and instruct.keep_alive.timeout >= 1)
    if instruct.next_link is not None:
        assert resolve("http://other/", instruct.next_link.uri.encode()) == instruct.next_link.uri
        assert instruct.next_link.timeout >= 0
    assert instruct.gone_link is None or instruct.gone_link.startswith(("http://", "https://"))
    for text in (*names, *instruct.meta, *instruct.meta.values()):
        text.encode()


WISHED_CHANNELS = st.lists(
    st.builds(
        Channel,
        TOKENS.map(bytes.decode),
        st.none() | QUOTABLE.filter(bool),
        st.lists(TOKENS.map(bytes.decode), max_size=MAX_FILTERS).map(tuple),
    ),
    max_size=4,
    unique_by=lambda channel: channel.name,
)
WISHED = st.builds(
    Instruct,
    st.sampled_from(["none", "response", "stream"]),
    st.integers(200, 999),
    TOKENS,
    channels=WISHED_CHANNELS.map(tuple),
    timeout=st.integers(5, 2**31 - 1),
    keep_alive=st.none() | st.builds(KeepAlive, TOKENS, st.integers(1, 2**31 - 1), st.booleans()),
    meta=st.dictionaries(PARAM_NAMES.map(bytes.decode), QUOTABLE.filter(bool), max_size=3),
    next_link=st.none() | st.builds(NextLink, st.just("http://example.com/n?x"), st.integers(0, 2**31 - 1)),
    gone_link=st.none() | st.just("https://example.com/gone"),
)


def header_lists(draw: Any, wished: Instruct) -> dict[bytes, list[bytes]]:
    """The elements of the list headers that ask for ``wished``."""

    def element(value: str, *params: tuple[bytes, object]) -> bytes:
        written = [
            draw(written_param(name, str(one).encode()))
            for name, content in params
            for one in (content if isinstance(content, tuple) else (content,))
            if one is not None
        ]
        return b";".join([value.encode(), *written])

    links = []
    if wished.next_link is not None:
        next_link = wished.next_link
        links.append(element(f"<{next_link.uri}>", (b"rel", "next"), (b"timeout", next_link.timeout)))
    if wished.gone_link is not None:
        links.append(element(f"<{wished.gone_link}>", (b"rel", "gone")))
    return {
        b"channel": [
            element(channel.name, (b"prev-id", channel.prev_id), (b"filter", channel.filters))
            for channel in wished.channels
        ],
        b"set-meta": [
            draw(written_param(key.encode(), value.encode())) for key, value in wished.meta.items()
        ],
        b"link": links,
    }


def single_headers(draw: Any, wished: Instruct) -> list[tuple[bytes, bytes]]:
    """The other headers."""
    found = [(b"timeout", b"%d" % wished.timeout), (b"status", b"%d %b" % (wished.status, wished.reason))]
    if wished.mode != "none":
        found.append((b"hold", wished.mode.encode()))
    if wished.keep_alive is not None:
        keep_alive = wished.keep_alive
        mode = draw(written_param(b"mode", b"interval" if keep_alive.interval else b"idle"))
        timeout = draw(written_param(b"timeout", b"%d" % keep_alive.timeout))
        found.append((b"keep-alive", b";".join([keep_alive.data, mode, timeout])))
    return found


@st.composite
def written_instructions(draw: Any) -> tuple[Instruct, list[tuple[bytes, bytes]]]:
    """An instruction and headers that ask for it, in any case and order."""
    wished = draw(WISHED)
    lines = single_headers(draw, wished)
    for name, elements in header_lists(draw, wished).items():
        lines += [(name, value) for value in draw(written_list(elements))]
    # Lines of one name keep their order; those of others may stand between them.
    names = draw(st.permutations([name for name, _ in lines]))
    waiting = {name: [value for key, value in lines if key == name] for name in names}
    return wished, [
        (b"grip-" + name if draw(st.booleans()) else b"Grip-" + name.title(), waiting[name].pop(0))
        for name in names
    ]


@given(written_instructions())
def test_an_instruction_is_read_as_it_was_written(case: tuple[Instruct, list[tuple[bytes, bytes]]]) -> None:
    wished, headers = case
    assert parse_instruct(Response(200, b"OK", headers), b"", URI) == wished


# ---- links -------------------------------------------------------------------------------------------------

SEGMENTS = st.lists(
    st.sampled_from(["a", "b.c", ".", "..", "...", "%41", ";x=1", "q:r"]), min_size=1, max_size=5
).map("/".join)
QUERIES = st.sampled_from(["", "?", "?x=/../y", "?a?b"])
BASES = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["h", "h:81", "[::1]:81"]),
    st.just("/") | st.sampled_from(["/a", "/a/", "/a/b/c"]),
    st.sampled_from(["", "?z"]),
)
REFERENCES = st.builds("{}{}".format, SEGMENTS.map("/{}".format) | SEGMENTS | st.just(""), QUERIES)


@given(BASES, REFERENCES, st.sampled_from(["", "#f"]))
def test_a_link_leads_where_the_rfc_says(base: str, reference: str, fragment: str) -> None:
    assume(":" not in reference.partition("/")[0])  # a scheme
    assume(not reference.endswith("?") or len(reference) > 1)  # for urljoin an empty query is none
    expected = urljoin(base, reference)
    assert resolve(base, (reference + fragment).encode()) == expected + "?" * (
        reference.endswith("?") and not expected.endswith("?")
    )


@given(BASES, BASES | st.binary(max_size=12).map(lambda data: data.decode("latin-1")))
def test_a_resolved_link_stands_for_itself(base: str, reference: str) -> None:
    try:
        uri = resolve(base, reference.encode())
    except ValueError:
        return
    assert resolve("http://elsewhere/x/y", uri.encode()) == uri
