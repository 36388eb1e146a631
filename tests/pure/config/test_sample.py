"""The sample configuration: good, complete, and as it is meant."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pushpin_tw.config import Global, Handler, Listen, Proxy, Runner, Tw, parse_config

SAMPLE = Path(__file__).parents[3] / "etc" / "pushpin.conf"
DEPRECATED = {
    "global": {"libdir"},
    "runner": {"rundir"},
    "proxy": {"workers", "ipc_file_mode", "stats_spec", "command_spec"},
    "handler": {"push_in_sub_spec"},
    "tw": set[str](),
}
"""Keys that a new configuration has no use for."""


def no_include(path: str) -> str:
    raise FileNotFoundError(path)


def test_it_is_good() -> None:
    config = parse_config(SAMPLE.read_text(), str(SAMPLE), no_include)
    assert config.warnings == ()
    assert config.runner.http_port == (Listen("0.0.0.0", 7999),)
    assert (config.handler.push_in_http_addr, config.handler.push_in_http_port) == ("127.0.0.1", 5561)
    assert (config.handler.message_rate, config.handler.message_hwm) == (-1, -1)
    assert Path(config.routes_path).is_file()


@pytest.mark.parametrize("section", [Global, Runner, Proxy, Handler, Tw])
def test_it_names_every_key(section: type) -> None:
    name = section.__name__.lower()
    text = SAMPLE.read_text().partition(f"\n[{name}]\n")[2].partition("\n[")[0]
    named = set(re.findall(r"^#?([a-z_]+)=", text, re.MULTILINE))
    assert named | DEPRECATED[name] == {field.name for field in dataclasses.fields(section)}


def test_our_own_keys_are_shown_with_their_defaults() -> None:
    assert parse_config(SAMPLE.read_text(), str(SAMPLE), no_include).tw == Tw()
