"""What is installed works: commands, the twistd plugin, dependencies, and what the Makefile makes."""

from __future__ import annotations

import ast
import configparser
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pushpin_tw
from tests.rules.documents import ROOT

# The name under which something is imported, where it differs from the name under which it is installed.
INSTALLED_AS = {"zmq": "pyzmq", "jwt": "pyjwt", "cryptography": "pyjwt[crypto]", "OpenSSL": "twisted[tls]"}


def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements() -> set[str]:
    lines = metadata()["options"]["install_requires"].split()
    names = {re.split(r"[<>=~!]", line)[0].lower().replace("_", "-") for line in lines}
    return names | {name.partition("[")[0] for name in names}


def imported() -> set[str]:
    found = set()
    for path in (ROOT / "pushpin_tw").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module or "")
    return found - {"__future__"}


def test_everything_imported_is_required() -> None:
    declared = requirements()
    for name in imported():
        top = name.partition(".")[0]
        if top == "pushpin_tw" or top in sys.stdlib_module_names:
            continue
        wanted = "zope.interface" if top == "zope" else INSTALLED_AS.get(top, top).lower().replace("_", "-")
        assert wanted in declared, f"{name} is imported, {wanted} is not in install_requires"


def test_nothing_is_pinned() -> None:
    assert "==" not in metadata()["options"]["install_requires"]


@pytest.mark.parametrize("line", metadata()["options.entry_points"]["console_scripts"].split("\n")[1:])
def test_commands_exist(line: str) -> None:
    module, _, function = line.partition("=")[2].strip().partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_every_file_of_the_package_is_installed() -> None:
    """A file beside the modules is left out unless setup.cfg names it."""
    data = metadata()["options.package_data"]
    for path in (ROOT / "pushpin_tw").rglob("*"):
        if path.is_dir() or path.suffix in (".py", ".pyc") or path.name == "dropin.cache":
            continue
        package = ".".join(path.parent.relative_to(ROOT).parts)
        patterns = data.get(package, "").split()
        assert any(path.match(pattern) for pattern in patterns), f"{path} is not in package_data"


def test_twistd_knows_pushpin() -> None:
    """The plugin is found from anywhere, so it must have been installed, or be on the path of a checkout."""
    listed = run(str(Path(sys.executable).with_name("twistd")), "--help")
    assert re.search(r"^ +pushpin +\S", listed, re.M)


def test_the_example_plugin_is_found_on_the_path() -> None:
    program = "from pushpin_tw.service import target_types; print(*target_types())"
    words = run(sys.executable, "-c", program, PYTHONPATH=str(ROOT / "examples")).split()
    assert "clock" in words
    assert "test" in words


def test_the_version_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", pushpin_tw.__version__)


def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.M)
    assert phony is not None
    listed = run("make", "-C", str(ROOT), "--no-print-directory", "help")
    for target in phony[1].split():
        assert f"make {target}" in listed


def test_no_registry_is_named() -> None:
    """pip is configured by whoever runs it."""
    for name in ("Makefile", ".ci/run", "setup.cfg", "pyproject.toml"):
        text = (ROOT / name).read_text()
        assert not re.search(r"--(extra-)?index-url|--trusted-host|://(?!localhost)", text), name
