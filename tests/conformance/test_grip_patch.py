"""Published patches of a held response's body (grip 17.8)."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.support.origin import hold
from tests.support.running import R
from tests.support.stage import Stage, numbered

case = pytest_twisted.ensureDeferred


def op(name: str, path: str, *value: object, **fields: object) -> dict[str, object]:
    """One operation; ``from_`` is ``from``."""
    made: dict[str, object] = {"op": name, "path": path}
    if value:
        made["value"] = value[0]
    return made | {key.rstrip("_"): found for key, found in fields.items()}


PATCHES = [
    ("167", '{"b":1,"a":[1,2]}\n', [op("add", "/c", {"z": None})], '{"a":[1,2],"b":1,"c":{"z":null}}\n'),
    ("167-crlf", '{"b":1}\r\n', [op("add", "/c", 2)], '{"b":1,"c":2}\r\n'),
    ("168-index", '{"a":[1,2]}', [op("add", "/a/0", 9)], '{"a":[9,2]}'),
    ("168-append", '{"a":[1,2]}', [op("add", "/a/-", 9)], '{"a":[1,2,9]}'),
    ("168-length", '{"a":[1,2]}', [op("add", "/a/2", 9)], ""),
    ("169", '{"a":[1,2],"b":1}', [op("remove", "/b"), op("remove", "/a/0")], '{"a":[2]}'),
    ("170-remove", '{"a":1}', [op("remove", "/z")], ""),
    ("170-replace", '{"a":1}', [op("replace", "/z", 1)], ""),
    ("170-parent", '{"a":1}', [op("add", "/z/y", 1)], ""),
    ("170-unknown", '{"a":1}', [op("increase", "/a", 1)], ""),
    ("170-no-object", '{"a":1}', ["add"], ""),
    ("170-no-json", "hello", [op("add", "/a", 1)], ""),
    ("171-out", '{"a":[1,2],"b":{"c":1}}', [op("move", "/d", from_="/b/c")], '{"a":[1,2],"b":{},"d":1}'),
    ("171-into-itself", '{"a":[1,2],"b":{"c":1}}', [op("move", "/b/c/d", from_="/b")], ""),
    ("172", '{"a/b":1,"m~n":2}', [op("replace", "/a~1b", 3), op("replace", "/m~0n", 4)], '{"a/b":3,"m~n":4}'),
    ("173-root", '{"a":1}', [op("replace", "/", {"n": 1})], '{"n":1}'),
    ("173-empty-path", '{"a":1}', [op("replace", "", {"n": 1})], ""),
    ("173-scalar", '{"a":1}', [op("replace", "/", 5)], ""),
    ("174", '{"a":1.2}', [op("test", "/a", 1.4), op("add", "/b", 1)], '{"a":1.2,"b":1}'),
    ("175", '{ "b": 1.0, "a" : 2.50, "e":1e3, "u":"\\u0041/" }', [], '{"a":2.5,"b":1,"e":1000,"u":"A/"}'),
    ("176", '{"a":null}', [op("test", "/a", None)], ""),
]


DIFFERS = {number: "1.36 answers a failed patch with 502" for number, _, _, body in PATCHES if not body}


@pytest.mark.parametrize(("document", "ops", "expected"), numbered(PATCHES, DIFFERS))
@case
async def test_body_patch(stage: Stage, document: str, ops: list[object], expected: str) -> None:
    await stage.start(hold("response", body=document.encode()))
    client = await stage.held()
    await stage.proxy.publish("c", {R: {"body-patch": ops}})
    await client.expect(f"HTTP/1.1 200 OK\r\nContent-Length: {len(expected)}\r\n\r\n{expected}".encode())
    await stage.usable(client)


@case
async def test_grip_177_body_wins(stage: Stage) -> None:
    await stage.start(hold("response", body=b'{"a":1}'))
    client = await stage.held()
    await stage.proxy.publish("c", {R: {"body": "body", "body-patch": [op("add", "/b", 1)]}})
    await client.expect(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
