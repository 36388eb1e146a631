"""What can be set is documented, and what the documentation says about its effect is true."""

from __future__ import annotations

import ast
import re
from dataclasses import fields, is_dataclass
from functools import cache

import pytest

from pushpin_tw.config import Config, parse_config
from pushpin_tw.options import Options, usage
from pushpin_tw.publish.cli import main as publish
from pushpin_tw.publish.ctl import main as ctl
from pushpin_tw.reconfigure import CHANGEABLE
from tests.rules.documents import DOCS, ROOT, Row, chapter, rows

PACKAGE = ROOT / "pushpin_tw"
CONFIGURATION = "reference/configuration.rst"
# Keys whose effect is within the configuration itself.
READ_AT_HOME = {"include", "libdir", "ipc_prefix", "port_offset", "push_in_sub_spec"}
SECTIONS = {"global": "global_", "runner": "runner", "proxy": "proxy", "handler": "handler", "tw": "tw"}


def no_include(path: str) -> str:
    raise FileNotFoundError(path)


@cache
def defaults() -> Config:
    return parse_config("", "pushpin.conf", no_include)


def keys(section: str) -> set[str]:
    value = getattr(defaults(), SECTIONS[section])
    assert is_dataclass(value)
    return {field.name for field in fields(value)}


def documented(section: str) -> dict[str, Row]:
    found = rows(chapter(CONFIGURATION, f"[{section}]"))
    return {name: row for row in found for name in row.names}


@cache
def attributes_read() -> frozenset[str]:
    """Names of attributes that anything outside ``config`` reads."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "config" in path.parents:
            continue
        found |= {
            node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
        }
    return frozenset(found)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented(section: str) -> None:
    assert keys(section) - documented(section).keys() == set()


@pytest.mark.parametrize("section", SECTIONS)
def test_no_key_is_made_up(section: str) -> None:
    real = {name for name, row in documented(section).items() if "|ignored|" not in row.cells[-1]}
    assert real - keys(section) == set()


@pytest.mark.parametrize("section", SECTIONS)
def test_keys_that_are_said_to_work_are_read(section: str) -> None:
    working = {name for name, row in documented(section).items() if row.effect}
    assert working - attributes_read() - READ_AT_HOME == set()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_the_shipped_configuration(section: str) -> None:
    text = (ROOT / "etc" / "pushpin.conf").read_text()
    found = re.search(rf"^\[{section}\]$(.*?)(?=^\[|\Z)", text, re.M | re.S)
    assert found is not None
    shipped = set(re.findall(r"^#?\s*(\w+)\s*=", found[1], re.M))
    told = {name for name, row in documented(section).items() if row.effect and not row.deprecated}
    assert told - shipped == set()
    assert shipped - documented(section).keys() == set()


# ---- SIGHUP ------------------------------------------------------------------------------------------------


def test_keys_that_can_change_at_run_time_are_told() -> None:
    told = {
        (row.cells[0].strip("`[]"), name)
        for row in rows(chapter("howto/stopping.rst", "Change the configuration"))
        for name in re.findall(r"``(\w+)``", row.cells[1])
    }
    assert told == CHANGEABLE


# ---- routes ------------------------------------------------------------------------------------------------


def test_every_route_property_is_documented() -> None:
    source = (PACKAGE / "routing" / "routefile.py").read_text()
    read = set(re.findall(r'given\("(\w+)"|"(\w+)" in values|values\.get\("(\w+)"', source))
    names = {name for groups in read for name in groups if name}
    told = {name for row in rows((DOCS / "reference" / "routes.rst").read_text()) for name in row.names}
    assert names, "the source reads properties in a way that this test does not see"
    assert names - told == set()


def test_no_route_property_is_made_up() -> None:
    source = (PACKAGE / "routing" / "routefile.py").read_text()
    told = {
        name
        for title in ("Conditions", "Targets")
        for row in rows(chapter("reference/routes.rst", title))
        for name in row.names
        if re.fullmatch(r"[a-z_]+", name) and len(row.cells) == 3
    }
    assert {name for name in told if f'"{name}"' not in source} == set()


# ---- limits ------------------------------------------------------------------------------------------------


def test_limits_name_real_keys() -> None:
    every = {key for section in SECTIONS for key in documented(section)}
    for row in rows((DOCS / "reference" / "limits.rst").read_text()):
        for name in re.findall(r"``([a-z_]{4,})``", row.cells[1]):
            assert name in every, name


# ---- commands ----------------------------------------------------------------------------------------------


def told_options(title: str) -> set[str]:
    """Options of a command, without their values."""
    return {
        name.split(" ")[0]
        for row in rows(chapter("reference/command-line.rst", title))
        for name in row.names
        if name.startswith("-")
    }


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", text))


def test_every_option_of_pushpin_is_documented() -> None:
    second_letters = {"-V"}  # the usage names one letter for each option
    assert told_options("pushpin") == options_in(usage()) | second_letters


def test_twistd_takes_the_same_options() -> None:
    alone = {"-h", "--help", "-v", "-V", "--version", "--check-config"}
    listed = Options().getUsage(width=1000)
    assert {name for name in told_options("pushpin") - alone if name not in listed} == set()


def test_every_option_of_pushpin_publish_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        publish(["--help"])
    assert told_options("pushpin-publish") == options_in(capsys.readouterr().out)


def test_every_option_of_pushpin_ctl_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ctl(["--help"])
    listed = capsys.readouterr().out
    commands = re.findall(
        r"^  ([a-z-]+) {2,}\w", listed.partition("commands:")[2].partition("positional")[0], re.M
    )
    told = {
        name.split(" ")[0]
        for row in rows(chapter("reference/command-line.rst", "pushpin-ctl"))
        for name in row.names
        if name[0] != "-" and len(row.cells) == 2 and row.cells[0].startswith("``")
    }
    assert set(commands) == told
    for command in commands:
        with pytest.raises(SystemExit):
            ctl([command, "--help"])
        listed += capsys.readouterr().out
    assert told_options("pushpin-ctl") == options_in(listed)
