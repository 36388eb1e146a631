"""Patches of held JSON bodies (grip 12.4, 17.8)."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpin_tw.grip.jsonpatch import MAX_COPIED, apply_patch


def op(name: str, path: str, **fields: object) -> dict[str, object]:
    return {"op": name, "path": path, **{key.rstrip("_"): value for key, value in fields.items()}}


CASES = [
    (
        "167",
        '{"b":1,"a":[1,2]}\n',
        [op("add", "/c", value={"z": None})],
        '{"a":[1,2],"b":1,"c":{"z":null}}\n',
    ),
    ("168-replace", '{"a":[1,2]}', [op("add", "/a/0", value=9)], '{"a":[9,2]}'),
    ("168-append", '{"a":[1,2]}', [op("add", "/a/-", value=9)], '{"a":[1,2,9]}'),
    ("168-beyond", '{"a":[1,2]}', [op("add", "/a/2", value=9)], ""),
    ("169", '{"a":[1,2],"b":1}', [op("remove", "/b"), op("remove", "/a/0")], '{"a":[2]}'),
    ("170-remove", '{"a":1}', [op("remove", "/b")], ""),
    ("170-replace", '{"a":1}', [op("replace", "/b", value=1)], ""),
    ("170-parent", '{"a":1}', [op("add", "/b/c", value=1)], ""),
    ("170-scalar-parent", '{"a":1}', [op("add", "/a/c", value=1)], ""),
    ("170-op", '{"a":1}', [op("bogus", "/a")], ""),
    ("170-op-type", '{"a":1}', [{"op": ["add"], "path": "/a"}], ""),
    ("170-no-object", '{"a":1}', [5], ""),
    ("170-body", "hello", [], ""),
    ("171", '{"a":[1,2],"b":{"c":1}}', [op("move", "/d", from_="/b/c")], '{"a":[1,2],"b":{},"d":1}'),
    ("171-into-itself", '{"b":{"c":1}}', [op("move", "/b/c/d", from_="/b")], ""),
    (
        "172",
        '{"a/b":1,"m~n":2}',
        [op("replace", "/a~1b", value=3), op("replace", "/m~0n", value=4)],
        '{"a/b":3,"m~n":4}',
    ),
    ("173-root", '{"a":1}', [op("replace", "/", value={"n": 1})], '{"n":1}'),
    ("173-empty", '{"a":1}', [op("replace", "", value={"n": 1})], ""),
    ("173-scalar", '{"a":1}', [op("replace", "/", value=5)], ""),
    ("174", '{"a":1.2}', [op("test", "/a", value=1.4), op("add", "/b", value=1)], '{"a":1.2,"b":1}'),
    ("175", '{ "b": 1.0, "a" : 2.50, "e":1e3, "u":"\\u0041/" }', [], '{"a":2.5,"b":1,"e":1000,"u":"A/"}'),
    ("176", '{"a":null}', [op("test", "/a", value=None)], ""),
    ("crlf", "[1]\r\n", [], "[1]\r\n"),
    ("lf-inside", "[1]\n ", [], "[1]"),
    ("bom", "\ufeff[1]", [], "[1]"),
    ("tilde", '{"~1":1}', [op("remove", "/~01")], "{}"),
    ("empty-token", '{"":1}', [op("remove", "//")], ""),
    ("no-path", '{"a":1}', [{"op": "remove"}], ""),
    ("no-value", '{"a":1}', [op("add", "/b")], ""),
    ("no-value-replace", '{"a":1}', [op("replace", "/a")], ""),
    ("no-from", '{"a":1}', [op("copy", "/b")], ""),
    ("null-value", '{"a":1}', [op("add", "/b", value=None)], '{"a":1,"b":null}'),
    ("remove-root", '{"a":1}', [op("remove", "/")], ""),
    ("remove-last", "[1]", [op("remove", "/-")], ""),
    ("leading-zeros", "[1,2]", [op("remove", "/001")], "[1]"),
    ("sign", "[1,2]", [op("remove", "/+1")], ""),
    ("other-digits", "[1,2]", [op("remove", "/\u0661")], ""),
    (
        "copy",
        '{"a":{"b":1}}',
        [op("copy", "/c", from_="/a"), op("add", "/c/b", value=2)],
        '{"a":{"b":1},"c":{"b":2}}',
    ),
    ("copy-root", '{"a":1}', [op("copy", "/b", from_="/")], '{"a":1,"b":{"a":1}}'),
    ("move-root", '{"a":1}', [op("move", "/", from_="/")], ""),
    ("move-onto-itself", '{"a":1}', [op("move", "/a", from_="/a")], '{"a":1}'),
    ("move-in-array", "[1,2,3]", [op("move", "/0", from_="/2")], "[3,2]"),
    ("negative-zero", "[-0.0,-0,0.0]", [], "[0,0,0]"),
    ("exponents", "[1e21,1e-7,0.1,123456789012345678]", [], "[1e+21,1e-07,0.1,123456789012345678]"),
    ("ten-to-19", "[1e19]", [], "[10000000000000000000]"),
    (
        "escapes",
        '["\\u0001\\b\\f\\n\\r\\t\\"\\\\\\/\\u007f\u00e9"]',
        [],
        '["\\u0001\\b\\f\\n\\r\\t\\"\\\\/\x7f\u00e9"]',
    ),
    ("utf-16-order", '{"\uff5e":1,"\U0001f600":2,"a":3}', [], '{"a":3,"\U0001f600":2,"\uff5e":1}'),
    ("nested-order", '[{"b":{"d":1,"c":2},"a":1}]', [], '[{"a":1,"b":{"c":2,"d":1}}]'),
]


@pytest.mark.parametrize(
    ("document", "operations", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_grip(document: str, operations: list[object], expected: str) -> None:
    assert apply_patch(document.encode(), operations) == expected.encode()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("5", 5, True),
        ("abc", 0, True),
        (True, 1, True),
        (True, "1", True),
        (True, False, False),
        ("a", "a", True),
        ("1", "1.0", False),
        (1.2, 1.4, True),
        (1.2, 1.6, False),
        (None, 0, False),
        ({}, 0, False),
        ([], {}, False),
        ({"a": [1, {"b": "x"}]}, {"a": [1.1, {"b": "x"}]}, True),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": 1}, {"b": 1}, False),
        ([None], [None], False),
    ],
)
def test_comparison(one: object, other: object, equal: bool) -> None:
    for first, second in ((one, other), (other, one)):
        found = apply_patch(json.dumps({"a": first}).encode(), [op("test", "/a", value=second)])
        assert bool(found) is equal


def test_operations_are_shared_and_stay_as_they_are() -> None:
    operations = [
        op("add", "/a", value={"b": []}),
        op("add", "/a/b/-", value=1),
        op("copy", "/c", from_="/a"),
    ]
    before = copy.deepcopy(operations)
    for _ in range(2):
        assert apply_patch(b"{}", operations) == b'{"a":{"b":[1]},"c":{"b":[1]}}'
    assert operations == before


def test_what_is_nested_too_deeply_is_empty() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert apply_patch(b"{}", [op("add", "/a", value=deep)]) == b""
    while isinstance(deep, list):  # taken apart gently: the interpreter's own way is recursive
        deep = deep.pop()


def test_a_document_copied_into_itself_again_and_again_is_empty() -> None:
    doubling = [op("copy", "/" + "ab"[number % 2], from_="/") for number in range(200)]
    assert apply_patch(b'{"a":1,"b":2}', doubling) == b""
    assert len(apply_patch(b'{"a":1,"b":2}', doubling[:20])) == 343873


def test_copies_of_something_large_have_a_limit_together() -> None:
    document = json.dumps({"a": "x" * (MAX_COPIED // 4), "b": []}).encode()
    copies = [op("copy", "/b/-", from_="/a")] * 4
    assert len(apply_patch(document, copies[:3])) > MAX_COPIED
    assert apply_patch(document, copies) == b""


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc/~"), inner),
    max_leaves=10,
)
DOCUMENTS = st.lists(VALUES, max_size=4) | st.dictionaries(st.sampled_from("abc/~"), VALUES)
POINTERS = st.lists(st.sampled_from(["a", "b", "c", "0", "1", "-", "~1", "~0"]), max_size=3).map(
    lambda tokens: "/" + "/".join(tokens)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": POINTERS | VALUES},
    optional={"value": VALUES, "from": POINTERS},
)


@given(DOCUMENTS, st.lists(OPERATIONS | VALUES, max_size=4))
def test_any_patch_gives_a_document_or_nothing(document: object, operations: list[object]) -> None:
    found = apply_patch(json.dumps(document).encode(), operations)
    assert found == b"" or isinstance(json.loads(found), dict | list)


@given(DOCUMENTS)
def test_an_empty_patch_changes_no_meaning(document: object) -> None:
    found = apply_patch(json.dumps(document).encode(), [])
    assert json.loads(found) == document
    assert apply_patch(found, []) == found
