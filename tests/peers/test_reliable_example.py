"""The backend of the how-to of reliable delivery does what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.peers.reliable import ReliableBackend, example
from tests.peers.running import pushpin
from tests.rules.documents import blocks
from tests.support.crowd import eventually
from tests.support.rawclient import RawClient

PAGE = "docs/howto/reliable.rst"
NOBODY = "--control=http://127.0.0.1:9/"
OWN = ("Server", "Date")
"""Headers that every backend has."""


def shown(language: str) -> list[str]:
    return [block.text for block in blocks() if (block.page, block.language) == (PAGE, language)]


async def answer(port: int, target: str, item: str = "") -> Any:
    """What is answered to a GET, or to the POST of an item."""
    client = await RawClient.connect(("127.0.0.1", port))
    client.request(target, **({"method": "POST", "body": item.encode()} if item else {}))
    response = await client.read_response()
    client.drop()
    return response


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_an_item_reaches_the_stream_and_a_lost_one_follows(tmp_path: Path) -> None:
    backend, deaf = ReliableBackend(tmp_path), ReliableBackend(tmp_path, NOBODY)
    first, both = shown("text")
    extra = "message_wait=300\nupdate_on_first_subscription=false"
    with pushpin(tmp_path, f"* 127.0.0.1:{backend.port}", extra=extra) as service:
        backend.options += (f"--control={service.control_url}/publish",)
        try:
            await backend.start()
            await deaf.start()
            client = await RawClient.connect(("127.0.0.1", service.port))
            client.request("/stream/news?after=0")
            body = client.body(await client.read_head())
            assert (await answer(backend.port, "/items/news", "first")).body == b"1\n"
            await body.expect(f"{first.strip()}\n\n".encode())
            polled = await answer(service.port, "/poll/news?after=0")
            assert polled.body.decode() == f"{shown('json')[1].strip()}\n"
            assert (await answer(deaf.port, "/items/news", "second")).status == 201
            assert (await answer(backend.port, "/items/news", "third")).status == 201
            await body.expect(f"{both.strip()}\n\n".encode())
            await eventually(lambda: backend.recoveries() == 1, lambda: "one request", 10)
            client.drop()
        finally:
            backend.kill()
            deaf.kill()


@pytest_twisted.ensureDeferred
async def test_the_page_shows_what_the_backend_says(tmp_path: Path) -> None:
    backend = ReliableBackend(tmp_path, NOBODY, "--page=2")
    held, page = shown("http")
    await backend.start()
    try:
        await answer(backend.port, "/items/news", "first")
        check(await answer(backend.port, "/stream/news?after=0"), held)
        await answer(backend.port, "/items/news", "second")
        check(await answer(backend.port, "/stream/news?after=0"), page)
    finally:
        backend.kill()


def check(answer: Any, block: str) -> None:
    """The answer is what the block shows; a block may leave headers out, but never one of GRIP's."""
    head, _, body = block.partition("\n\n")
    status, *lines = head.strip().splitlines()
    assert status == f"HTTP/1.1 {answer.status} OK"
    told = [line.strip().partition(": ")[::2] for line in lines]
    for name, value in told:
        assert name in OWN or answer.get(name) == value, name
    names = {name for name, _ in told}
    assert all(
        answer.get(name) is None or name in names for name in ("Grip-Hold", "Grip-Channel", "Grip-Link")
    )
    assert answer.body.decode() == f"{body.strip()}\n\n"


def test_the_item_of_the_page_is_what_the_example_publishes() -> None:
    assert json.loads(shown("json")[0]) == {"items": [example.message("news", 2, "second")]}
