"""The headline demonstration, small: its service, and a whole run over several proxies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from benchmarks.headline.demonstration import Service
from benchmarks.headline.reading import text_of
from tests.rules.documents import ROOT

PATIENCE = 30.0


class Control(BaseHTTPRequestHandler):
    """Takes items as a proxy does, and keeps them."""

    items: Queue[Any]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        for item in body["items"]:
            self.items.put((self.server.server_port, item))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def published() -> Iterator[tuple[list[int], Queue[Any]]]:
    """Two proxies' publish inputs: their ports, and what comes in."""
    items: Queue[Any] = Queue()
    kind = type("Kept", (Control,), {"items": items})
    servers = [HTTPServer(("127.0.0.1", 0), kind) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    yield [server.server_port for server in servers], items
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service(published: tuple[list[int], Queue[Any]]) -> Iterator[Service]:
    running = Service([f"http://127.0.0.1:{port}" for port in published[0]])
    yield running
    running.stop()


def get(service: Service, target: str, **headers: str) -> tuple[dict[str, str], bytes]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}{target}", headers=fields)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return {name.lower(): value for name, value in response.headers.items()}, response.read()


def test_the_service_answers_at_once_unless_the_client_is_up_to_date(service: Service) -> None:
    service.set(1)
    line = json.dumps({"id": 1, "text": text_of(1)}).encode() + b"\n"
    for target in ("/", "/?last_id=0", "/?last_id=none"):
        headers, body = get(service, target)
        assert body == line
        assert "grip-hold" not in headers
    headers, body = get(service, "/?last_id=1")
    assert (headers["grip-hold"], headers["grip-channel"]) == ("response", "headline; prev-id=1")
    assert body == line


def test_what_the_proxy_has_seen_counts_more_than_the_address(service: Service) -> None:
    service.set(1)
    headers, _ = get(service, "/?last_id=1", Grip_Last="headline; last-id=0")
    assert "grip-hold" not in headers
    headers, body = get(service, "/stream", Grip_Last="headline; last-id=1")
    assert (headers["grip-hold"], body) == ("stream", b"")


def test_a_stream_begins_with_the_headline_and_knows_where_it_stands(service: Service) -> None:
    headers, body = get(service, "/stream")
    assert json.loads(body) == {"id": 0, "text": text_of(0)}
    assert headers["grip-channel"] == "headline; prev-id=0"
    assert headers["grip-link"].startswith("</stream>; rel=next")


def test_a_headline_is_published_to_every_proxy(
    service: Service, published: tuple[list[int], Queue[Any]]
) -> None:
    ports, items = published
    service.set(1)
    got = dict(items.get(timeout=PATIENCE) for _ in ports)
    assert set(got) == set(ports)
    for item in got.values():
        assert (item["channel"], item["id"], item["prev-id"]) == ("headline", "1", "0")
        contents = item["http-response"]["body"], item["http-stream"]["content"]
        assert [json.loads(content) for content in contents] == [{"id": 1, "text": text_of(1)}] * 2


def test_the_service_counts_what_clients_ask(service: Service) -> None:
    asked, _ = service.asked()
    get(service, "/")
    get(service, "/stream")
    service.set(1)
    assert service.asked()[0] == asked + 2


@pytest.mark.parametrize(
    ("variant", "proxies", "processes"), [("poll", "--instances=2", 2), ("stream", "--workers=2", 3)]
)
def test_a_small_run_reaches_everybody_and_its_table_adds_up(
    variant: str, proxies: str, processes: int, tmp_path: Path
) -> None:
    kept, picture = tmp_path / "run.json", tmp_path / "run.png"
    command = [sys.executable, "-m", "benchmarks", "headline", "--clients=200", proxies, "--rounds=1"]
    command += [f"--variant={variant}", f"--json={kept}", f"--plot={picture}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "headline 1 for 200 clients" in done.stdout
    opening, rounds = (
        [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        for table in json.loads(kept.read_text())["tables"]
    )
    assert [(row["clients"], row["failed"], row["processes"]) for row in opening] == [(200, 0, processes)]
    assert opening[0]["backend requests"] >= 2
    (row,) = rounds
    assert [row[name] for name in ("headline", "received", "lost", "missing")] == [1, 200, 0, 0]
    assert 0 < row["min ms"] <= row["50 %"] <= row["95 %"] <= row["99 %"] <= row["max ms"]
    assert row["min ms"] <= row["avg ms"] <= row["max ms"]
    assert (row["backend requests"] > 0) == (variant == "poll")  # streams go on, polls come again
    assert f"{row['max ms']:6.0f} ms" in done.stdout  # the last line of the log says the same
    assert picture.read_bytes().startswith(b"\x89PNG")
