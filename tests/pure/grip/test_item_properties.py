"""What holds for all items and patches, whoever has published them.

Each parser's own tests feed it anything and look for surprises; here are the laws: both forms of an item mean
the same, what was accepted can be sent, and a patch is done completely or not at all.
"""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from pushpin_tw.broker.parcel import RESPONSE, STREAM, Parcel
from pushpin_tw.errors import PacketError, PublishError
from pushpin_tw.grip.instruct import Instruct
from pushpin_tw.grip.item import Item, parse_item, parse_items
from pushpin_tw.grip.jsonpatch import apply_patch
from pushpin_tw.grip.template import Template
from pushpin_tw.wire.tnetstring import decode, encode
from tests.pure.grip.anything import QUOTABLE, check_whole

# ---- items -------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=6)
FIELDS = st.fixed_dictionaries(
    {"body": TEXTS, "content": TEXTS},
    optional={
        "action": st.sampled_from(["send", "send", "hint", "close", "refresh", "nonsense"]),
        "code": st.integers(200, 999) | st.integers(-1, 70000) | TEXTS,
        "reason": TEXTS,
        "headers": st.dictionaries(st.sampled_from(["X-A", "x-b", "Grip-C"]), QUOTABLE)
        | st.lists(st.lists(TEXTS, min_size=2, max_size=2) | st.lists(TEXTS, max_size=3), max_size=2),
        "content-filters": st.lists(TEXTS, max_size=3),
        "type": st.sampled_from(["text", "binary", "ping", "pong", "nonsense"]),
    },
)
WHOLE_ITEMS = st.fixed_dictionaries(
    {
        "channel": TEXTS,
        "formats": st.dictionaries(
            st.sampled_from(["http-response", "http-stream", "ws-message"]),
            FIELDS | st.dictionaries(st.sampled_from(["body", "content", "action"]), TEXTS),
            min_size=1,
        ),
    },
    optional={
        "id": TEXTS,
        "prev-id": TEXTS,
        "meta": st.dictionaries(TEXTS, TEXTS),
        "size": st.integers(-1, 100),
        "no-seq": st.booleans() | st.integers(),
    },
)
WITH_BYTES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
PATCHES = st.fixed_dictionaries({"body-patch": st.lists(WITH_BYTES, max_size=3)})


def outcome(value: object, packed: bool) -> Item | str:
    try:
        return parse_item(value, packed)
    except PublishError as error:
        return error.reason


@given(WHOLE_ITEMS)
def test_an_item_means_the_same_in_both_forms(value: dict[str, Any]) -> None:
    packed = decode(encode(value))
    as_json, as_packed = outcome(value, False), outcome(packed, True)
    if isinstance(as_json, str):
        assert isinstance(as_packed, str)
        assert as_packed == as_json or "does not contain" in as_json  # the forms differ in what they offer
    else:
        assert as_packed == as_json
        (again,) = parse_items(json.dumps({"items": [value]}).encode())
        assert again == as_json


HELD = Instruct("response", 200, b"OK", ((b"X-A", b"1"), (b"Grip-B", b"2")), b'{"a":[1,2]}\n')


@given(
    st.fixed_dictionaries({"channel": TEXTS.map(str.encode), "http-response": FIELDS | PATCHES | WITH_BYTES})
    | st.fixed_dictionaries({"channel": TEXTS.map(str.encode), "formats": st.dictionaries(TEXTS, WITH_BYTES)})
    | WHOLE_ITEMS
    | WITH_BYTES,
    st.booleans(),
    st.integers(1, 1000),
)
def test_an_item_that_is_accepted_can_be_sent(value: object, packed: bool, block: int) -> None:
    if packed:
        value = decode(encode(value))
    try:
        item = parse_item(value, packed)
    except PublishError as error:
        error.reason.encode()
        return
    parcel = Parcel(item)
    for kind in (RESPONSE, STREAM):
        assert parcel.weight(kind, block) >= 1
        parcel.wanted(kind)
    if parcel.action(RESPONSE) == "send":
        check_whole(parcel.encoded(RESPONSE, Template(HELD, 1, True, False)))
    if parcel.action(STREAM) == "send":
        assert item.http_stream is not None
        assert parcel.encoded(STREAM, False) == item.http_stream.content


@given(WHOLE_ITEMS, st.lists(st.tuples(st.integers(0), st.binary(max_size=2)), min_size=1, max_size=3))
def test_a_damaged_packet_is_an_item_or_one_of_two_errors(value: object, changes: list[Any]) -> None:
    data = encode(value)
    for place, new in changes:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + 1 :]
    with contextlib.suppress(PacketError, PublishError):
        parse_item(decode(data), True).channel.encode()


# ---- patches -----------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "0", "~", "/", "a/b", "-"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(TREES, max_size=3) | st.dictionaries(KEYS, TREES, max_size=3)
POINTERS = st.lists(st.sampled_from(["a", "b", "0", "1", "~0", "~1", "a~1b", "-"]), max_size=3).map(
    lambda tokens: "/" + "/".join(tokens)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": POINTERS},
    optional={"value": TREES, "from": POINTERS},
)


def paths(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """All places in a document, the whole included, and what is there."""
    found = [(path or "/", value)]
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        found += paths(member, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")
    return found


def text(document: object) -> bytes:
    return json.dumps(document).encode()


@given(DOCUMENTS, st.data())
def test_what_is_at_a_place_passes_the_test_of_it(document: object, data: Any) -> None:
    path, value = data.draw(st.sampled_from(paths(document)))
    assume(all(not isinstance(one, type(None)) for _, one in paths(value)))  # null equals nothing (grip 12.4)
    found = apply_patch(text(document), [{"op": "test", "path": path, "value": value}])
    assert json.loads(found) == document


@given(DOCUMENTS, TREES, st.data())
def test_what_was_replaced_is_there(document: object, value: object, data: Any) -> None:
    path, _ = data.draw(st.sampled_from(paths(document)))
    assume(path != "/" or isinstance(value, dict | list))
    found = apply_patch(text(document), [{"op": "replace", "path": path, "value": value}])
    assert dict(paths(json.loads(found)))[path] == value


@given(st.dictionaries(KEYS, TREES, max_size=3), TREES)
def test_what_was_added_can_be_taken_away(document: dict[str, object], value: object) -> None:
    add, remove = {"op": "add", "path": "/new", "value": value}, {"op": "remove", "path": "/new"}
    assert json.loads(apply_patch(text(document), [add])) == {**document, "new": value}
    assert json.loads(apply_patch(text(document), [add, remove])) == document


@given(DOCUMENTS, st.lists(OPERATIONS, max_size=3), st.lists(OPERATIONS, max_size=3))
def test_two_patches_are_one_after_the_other(document: object, first: list[Any], second: list[Any]) -> None:
    halfway = apply_patch(text(document), first)
    if halfway:
        assert apply_patch(text(document), first + second) == apply_patch(halfway, second)


@given(DOCUMENTS, st.lists(OPERATIONS, max_size=3), st.lists(OPERATIONS, max_size=3), st.data())
def test_all_operations_or_none(document: object, before: list[Any], after: list[Any], data: Any) -> None:
    wrong = data.draw(
        st.sampled_from(
            [{"op": "remove", "path": "/nowhere"}, {"op": "test", "path": "/"}, {}, 5, {"op": "add"}]
        )
    )
    assert apply_patch(text(document), [*before, wrong, *after]) == b""


@given(DOCUMENTS | TREES, st.lists(OPERATIONS | TREES, max_size=4), st.sampled_from(["", "\n", "\r\n"]))
def test_a_patch_serves_many_documents(document: object, operations: list[Any], end: str) -> None:
    kept = copy.deepcopy(operations)
    data = text(document) + end.encode()
    found = apply_patch(data, operations)
    assert operations == kept
    assert apply_patch(data, operations) == found
    assert not found or found.endswith(b"\r\n" if end == "\r\n" else end.encode())


@given(st.binary(), st.lists(OPERATIONS, max_size=2))
def test_a_body_that_is_no_document_becomes_empty(body: bytes, operations: list[Any]) -> None:
    assert apply_patch(b"[," + body, operations) == b""
