"""Connections by name."""

from __future__ import annotations

from uuid import UUID

import pytest

from pushpin_tw.stats.connections import Connections

NAME = "6f1f8e1e-93a6-4d1c-8f0b-0d5a3c1f2b4e"


def filled(worker: str = "") -> Connections:
    connections = Connections(3, worker)
    for number in (1, 7, UUID(NAME).int):
        connections.turns[number % 3][number] = f"<{number}>"
    return connections


def test_names() -> None:
    assert filled().name(7) == "connmgr:7"
    assert filled("2").name(7) == "connmgr:2-7"
    assert filled().name(UUID(NAME).int) == NAME


def test_what_has_a_name_is_found() -> None:
    assert filled().get("connmgr:7") == "<7>"
    assert filled("2").get("connmgr:2-7") == "<7>"
    assert filled().get(NAME) == f"<{UUID(NAME).int}>"
    assert len(filled()) == 3


@pytest.mark.parametrize(
    "name",
    [
        *("", "connmgr:", "connmgr:8", "connmgr:07", "connmgr: 7", "connmgr:-7", "connmgr:2-7", "connmgr:7x"),
        *("connmgr:0", "connmgr:" + "9" * 5000, "7", "bogus", NAME.upper(), f"{{{NAME}}}"),
        *("00000000-0000-0000-0000-000000000007", NAME.replace("-", "")),
    ],
)
def test_what_is_no_name_is_not(name: str) -> None:
    assert filled().get(name) is None


def test_turns() -> None:
    connections = filled()
    assert list(connections.turn(1)) == list(connections.turn(4))
    assert {1, 7} <= set(connections.turn(1))
    assert len(Connections(0).turns) == 1
