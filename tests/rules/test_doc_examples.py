"""What the documentation shows can be pasted: configuration parses, commands exist, examples run."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess

import pytest

from pushpin_tw.config import parse_config
from pushpin_tw.grip.item import parse_items
from pushpin_tw.routing.routefile import KeySource, parse_routes
from pushpin_tw.service import target_types
from tests.rules.documents import ROOT, Block, blocks

BLOCKS = blocks()


def no_include(path: str) -> str:
    raise FileNotFoundError(path)


def where(block: Block) -> str:
    return f"{block.page}:{block.text.splitlines()[0][:40]}"


def chosen(*languages: str, caption: str = "") -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.language in languages and (not caption or block.caption in (caption, ""))
    ]


CONFIGURATIONS = [block for block in chosen("ini", caption="pushpin.conf") if "[Unit]" not in block.text]
ROUTES = [block for block in BLOCKS if block.caption == "routes" or block.language == "routes"]
SHELL = chosen("sh")


def test_the_pages_were_found() -> None:
    assert len(CONFIGURATIONS) >= 5
    assert len(ROUTES) >= 4
    assert len(SHELL) >= 10


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=where)
def test_configurations_are_read_without_a_warning(block: Block) -> None:
    assert parse_config(block.text, "pushpin.conf", no_include).warnings == ()


@pytest.mark.parametrize("block", ROUTES, ids=where)
def test_routes_are_read_without_a_warning(block: Block) -> None:
    routes, warnings = parse_routes(block.text, "routes", target_types(), KeySource())
    assert warnings == []
    lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
    assert len(routes) == len(lines)


def test_the_shipped_files_are_read_without_a_warning() -> None:
    text = (ROOT / "etc" / "pushpin.conf").read_text()
    config = parse_config(text, "etc/pushpin.conf", no_include)
    assert config.warnings == ()
    routes, warnings = parse_routes(
        (ROOT / "etc" / config.proxy.routesfile).read_text(), "routes", target_types(), KeySource()
    )
    assert routes
    assert warnings == []


@pytest.mark.parametrize("block", chosen("json"), ids=where)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", chosen("python"), ids=where)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", SHELL, ids=where)
def test_shell_commands_parse(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("block", SHELL, ids=where)
def test_make_targets_exist(block: Block) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for words in commands(block):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= set(targets)


@pytest.mark.parametrize("block", SHELL, ids=where)
def test_published_items_are_accepted(block: Block) -> None:
    for words in commands(block):
        if words[0] == "curl" and words[-1].rstrip("/").endswith("/publish"):
            assert len(parse_items(words[words.index("-d") + 1].encode())) == 1


def commands(block: Block) -> list[list[str]]:
    """The commands of a block, as words, comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_environment_of_make_is_named_everywhere_alike() -> None:
    """``make`` is told which Python to take; the build machine's script hands the same name on."""
    assert "PYTHON ?=" in (ROOT / "Makefile").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
