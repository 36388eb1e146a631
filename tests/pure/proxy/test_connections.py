"""Connections that are asked about by name (zeromq 4.5, 4.6)."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from pushpin_tw.extensions import IConnections
from pushpin_tw.proxy.connections import Connections


class Connection:
    """What stands for one."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.refreshed = 0

    def refresh(self) -> None:
        assert self.kind == "ws"
        self.refreshed += 1


class Broker:
    def __init__(self) -> None:
        self.channels: list[str] = []

    def refresh(self, channel: str) -> None:
        self.channels.append(channel)


class World:
    def __init__(self) -> None:
        self.broker: Any = Broker()
        self.named = {"connmgr:1": Connection("http"), "a-b": Connection("ws")}
        self.connections = Connections(self.broker, self.named.get)
        self.told: list[Any] = []


def test_the_contract() -> None:
    assert verifyObject(IConnections, World().connections)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], []),
        (["x"], []),
        (["x", "a-b", "connmgr:1"], ["a-b", "connmgr:1"]),
        (["a-b", "a-b"], ["a-b", "a-b"]),
    ],
)
def test_which_there_are(names: list[str], found: list[str]) -> None:
    world = World()
    world.connections.find(names, world.told.append)
    assert world.told == [found]


@pytest.mark.parametrize(("name", "found"), [("x", False), ("connmgr:1", False), ("a-b", True)])
def test_a_refresh(name: str, found: bool) -> None:
    world = World()
    world.connections.refresh(name, world.told.append)
    assert world.told == [found]
    assert world.named["a-b"].refreshed == found


def test_a_refresh_of_a_channel() -> None:
    world = World()
    world.connections.refresh_channel("c")
    assert world.broker.channels == ["c"]
