"""The house rules of the rooms: who may import whom, and what the pure rooms must not touch.

Read from the source with ``ast``, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pushpin_tw"

# Level of each room (a package or a module directly below pushpin_tw); a new room must be given a place here.
LEVELS = {
    "errors": 0,
    "extensions": 0,
    "figures": 0,
    "interfaces": 0,
    "sockets": 0,
    "wheel": 0,
    "complaints": 1,
    "wire": 1,
    "framing": 2,
    "zhttptalk": 2,
    "grip": 2,
    "routing": 2,
    "config": 2,
    "broker": 3,
    "hold": 3,
    "proxy": 4,
    "descriptors": 5,
    "edge": 5,
    "origin": 5,
    "publish": 5,
    "smallhttp": 5,
    "stats": 5,
    "zmqending": 5,
    "zmqsocket": 5,
    "testing": 6,
    "plugins": 6,
    "service": 6,
    "garbage": 6,
    "handover": 6,
    "inlet": 6,
    "notify": 6,
    "pidfile": 6,
    "reconfigure": 6,
    "upgrade": 6,
    "destinations": 6,
    "monitoring": 6,
    "routeswatch": 6,
    "workers": 6,
    "options": 6,
    "process": 6,
    "command": 6,
    "tap": 6,
}
PURE = 3
# Rooms of level 5 meet the levels 3 and 4 through interfaces only.
EDGE_SEES = 2
# ... and they share these, which know none of them.
SHARED = {"descriptors", "smallhttp", "zmqending", "zmqsocket"}

# What may be imported from outside the standard library, by room; a longer name wins over a shorter one.
OUTSIDE = {
    "errors": set(),
    "extensions": {"zope.interface"},
    "figures": {"zope.interface"},
    "interfaces": {"zope.interface"},
    "sockets": {"zope.interface"},
    "wheel": {"zope.interface"},
    "complaints": set(),
    "wire": {"zope.interface"},
    "wire.http1": {"zope.interface", "httptools"},
    "wire.gripsig": {"zope.interface", "jwt", "cryptography"},
    "framing": {"autobahn.websocket"},
    "zhttptalk": {"zope.interface"},
    "grip": {"zope.interface"},
    "routing": {"zope.interface", "idna"},
    "config": {"zope.interface"},
    "broker": {"zope.interface"},
    "hold": {"zope.interface"},
    "proxy": {
        "zope.interface",
        "twisted.internet.defer",
        "twisted.internet.interfaces",
        "twisted.python.failure",
    },
}
# Modules of the standard library that reach out of the process, or know the time.
REACHES_OUT = {
    *(
        "asyncio",
        "concurrent",
        "ftplib",
        "http.client",
        "http.server",
        "io",
        "logging",
        "multiprocessing",
        "os",
    ),
    *(
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
    ),
    *("threading", "time", "urllib.request"),
}
HARMLESS = {"os.path"}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name below the package, and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


def modules() -> list[Module]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found.append(Module(name, path, ast.parse(path.read_text(), str(path))))
    return found


MODULES = modules()
IN_ROOMS = [module for module in MODULES if module.name]
PURE_MODULES = [module for module in IN_ROOMS if LEVELS.get(module.room, 9) <= PURE]


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that is imported; ``from a import b`` counts as ``a.b``."""
    package = ["pushpin_tw", *module.name.split(".")]
    if module.path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    return any(name == entry or name.startswith(entry + ".") for entry in allowed)


def ids(module: Module) -> str:
    return module.name


def test_every_room_has_a_level() -> None:
    assert {module.room for module in IN_ROOMS} <= LEVELS.keys()


@pytest.mark.parametrize("module", IN_ROOMS, ids=ids)
def test_imports_go_downwards(module: Module) -> None:
    own = LEVELS[module.room]
    seen = EDGE_SEES if own == 5 else own - 1
    for line, name in imports(module):
        if not name.startswith("pushpin_tw.") or own == 6:
            continue
        room = name.split(".")[1]
        if room == module.room or room.startswith("__") or (own == 5 and room in SHARED):
            continue
        assert LEVELS[room] <= seen, f"{module.path}:{line}: {module.room} (level {own}) imports {room}"


@pytest.mark.parametrize("module", IN_ROOMS, ids=ids)
def test_nothing_imports_the_top_floor(module: Module) -> None:
    if LEVELS[module.room] == 6:
        return
    top = {f"pushpin_tw.{room}" for room, level in LEVELS.items() if level == 6}
    assert [name for _, name in imports(module) if within(name, top)] == []


@pytest.mark.parametrize("module", [m for m in IN_ROOMS if LEVELS.get(m.room, 9) <= 4], ids=ids)
def test_rooms_import_only_what_they_may_from_outside(module: Module) -> None:
    allowed = OUTSIDE.get(module.name, OUTSIDE[module.room])
    for line, name in imports(module):
        top = name.partition(".")[0]
        if top in ("pushpin_tw", "__future__") or top in sys.stdlib_module_names:
            continue
        assert within(name, allowed), f"{module.path}:{line}: {module.name} imports {name}"


@pytest.mark.parametrize("module", PURE_MODULES, ids=ids)
def test_pure_rooms_reach_nothing_outside_the_process(module: Module) -> None:
    for line, name in imports(module):
        assert within(name, HARMLESS) or not within(name, REACHES_OUT), (
            f"{module.path}:{line}: imports {name}"
        )
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"{module.path}:{node.lineno}"


@pytest.mark.parametrize("module", PURE_MODULES, ids=ids)
def test_pure_rooms_are_given_their_randomness(module: Module) -> None:
    """``random.Random`` may be named as a type; the functions of the module have a state of their own."""
    for line, name in imports(module):
        assert name in ("random", "random.Random") or not within(name, {"random", "secrets", "uuid"}), line
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            assert node.attr == "Random", f"{module.path}:{node.lineno}: random.{node.attr}"


@pytest.mark.parametrize("module", IN_ROOMS, ids=ids)
def test_the_global_reactor_is_imported_on_the_top_floor_only(module: Module) -> None:
    if LEVELS[module.room] == 6:
        return
    assert "twisted.internet.reactor" not in [name for _, name in imports(module)]


@pytest.mark.parametrize("module", IN_ROOMS, ids=ids)
def test_nobody_asks_the_system_clock(module: Module) -> None:
    clocks = {"time.time", "time.monotonic", "datetime.datetime.now"}
    assert [name for _, name in imports(module) if name in clocks] == []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            assert node.attr not in ("time", "monotonic", "time_ns"), f"{module.path}:{node.lineno}"


# ---- the checks themselves find what they are for ----------------------------------------------------------


def check_source(name: str, source: str) -> list[str]:
    return [found for _, found in imports(Module(name, Path(f"{name}.py"), ast.parse(source)))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import twisted.internet", "twisted.internet"),
        ("from twisted.internet import defer as d", "twisted.internet.defer"),
        ("def f():\n    from zmq import Context", "zmq.Context"),
        ("if TYPE_CHECKING:\n    import zmq", "zmq"),
        ("from . import sibling", "pushpin_tw.wire.sibling"),
        ("from ..hold.base import Hold", "pushpin_tw.hold.base.Hold"),
    ],
)
def test_an_import_is_seen_wherever_it_hides(source: str, expected: str) -> None:
    assert check_source("wire.module", source) == [expected]
