"""The examples and the tutorials do what their pages say, on real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
import pytest_twisted
from twisted.internet.utils import getProcessOutputAndValue

import pushpin_tw.plugins
from tests.rules.documents import ROOT, blocks
from tests.support.items import piece
from tests.support.origin import ScriptedOrigin, hold, reply
from tests.support.running import Proxy
from tests.support.service import ServiceProxy
from tests.support.waiting import until, within
from tests.support.zworker import free_ports

EXAMPLES = ROOT / "examples"
# Deliveries leave in the reactor's own time.
UNLIMITED = {"handler": {"message_rate": -1}}


def load(path: Path) -> ModuleType:
    module = ModuleType(path.stem)
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


@pytest.fixture
def backend() -> Iterator[str]:
    """The backend of the tutorial, as HOST:PORT."""
    handler = load(EXAMPLES / "backend.py").Backend
    handler.log_message = lambda *args: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest_twisted.async_yield_fixture
async def tutorial(backend: str) -> AsyncIterator[Proxy]:
    """The proxy in front of it."""
    proxy = await ServiceProxy.start([f"* {backend}"], UNLIMITED)
    yield proxy
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_line_is_pushed_to_a_stream(tutorial: Proxy) -> None:
    client = await tutorial.client()
    client.request("/news")
    head = await client.read_head()
    body = client.body(head)
    assert (head.status, head.get("Grip-Hold")) == (200, None)
    await body.expect(b"welcome\n")
    await tutorial.held("news")
    await tutorial.publish("news", {"http-stream": {"content": "hello from somewhere else\n"}})
    await body.expect(b"hello from somewhere else\n")
    client.drop()


@pytest_twisted.ensureDeferred
async def test_a_long_poll_is_answered(tutorial: Proxy) -> None:
    client = await tutorial.client()
    client.request("/next")
    await tutorial.held("news")
    await tutorial.publish("news", {"http-response": {"body": "hello\n"}})
    answer = await client.read_response()
    assert (answer.status, answer.body) == (200, b"hello\n")
    client.drop()


@pytest_twisted.ensureDeferred
async def test_a_long_poll_ends_with_what_the_backend_said(tutorial: Proxy) -> None:
    client = await tutorial.client()
    client.request("/next")
    await tutorial.held("news")
    await tutorial.advance(20.2)
    answer = await client.read_response()
    assert answer.body == b"no news\n"
    client.drop()


# ---- Django ------------------------------------------------------------------------------------------------

# Tells its port first, and reads the settings when it is told that they are written.
SERVE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "newsroom.settings"
from wsgiref.simple_server import make_server
from django.core.wsgi import get_wsgi_application
server = make_server("127.0.0.1", 0, None)
print(server.server_port, flush=True)
input()
server.set_app(get_wsgi_application())
server.serve_forever()
"""


def newsroom(directory: Path, control_port: int) -> None:
    """What the page tells to write."""
    command = [sys.executable, "-m", "django", "startproject", "newsroom", "."]
    subprocess.run(command, cwd=directory, check=True, timeout=60)
    code = {block.caption: block.text for block in blocks() if block.page == "docs/tutorial/django.rst"}
    assert "localhost:5561" in code["settings.py"]
    with (directory / "newsroom" / "settings.py").open("a") as settings:
        settings.write(code["settings.py"].replace("localhost:5561", f"127.0.0.1:{control_port}"))
    (directory / "newsroom" / "urls.py").write_text(code["urls.py"])


@pytest_twisted.ensureDeferred
async def test_django_holds_and_publishes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    proxy = await ServiceProxy.start(
        [f"* 127.0.0.1:{process.stdout.readline().strip()},host=localhost"], UNLIMITED
    )
    # Django looks at the real clock for whether a signature is still good.
    proxy.clock.advance(time.time() - proxy.clock.seconds())
    try:
        newsroom(tmp_path, proxy.control_address[1])
        assert process.stdin is not None
        process.stdin.write("written\n")
        process.stdin.flush()
        await converse(proxy)
    finally:
        process.kill()
        process.communicate()
        await proxy.stop()


async def converse(proxy: Proxy) -> None:
    """One client waits, another publishes through Django."""
    reader = await proxy.client()
    reader.request("/news")
    head = await reader.read_head()
    body = reader.body(head)
    await body.expect(b"welcome\n")
    await proxy.held("news")
    writer = await proxy.client()
    writer.request("/news", method="POST", body=b"hello from Django")
    assert (await writer.read_response()).body == b"published\n"
    await body.expect(b"hello from Django\n")
    reader.drop()
    writer.drop()


# ---- plugins -----------------------------------------------------------------------------------------------


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of the examples is on the path."""
    places = [*pushpin_tw.plugins.__path__, str(EXAMPLES / "pushpin_tw" / "plugins")]
    monkeypatch.setattr(pushpin_tw.plugins, "__path__", places)


@pytest.mark.usefixtures("plugins")
@pytest_twisted.ensureDeferred
async def test_the_clock_target_tells_the_time_and_holds() -> None:
    proxy = await ServiceProxy.start(["* clock/UTC"], UNLIMITED)
    client = await proxy.client()
    client.request("/")
    body = client.body(await client.read_head())
    # The service's clock stands at 1 700 000 000.
    await body.expect(b"22:13:20\n")
    await proxy.held("clock")
    await proxy.publish("clock", {"http-stream": {"content": "tick\n"}})
    await body.expect(b"tick\n")
    client.drop()
    await proxy.stop()


@pytest.mark.usefixtures("plugins")
@pytest_twisted.ensureDeferred
async def test_the_clock_target_refuses_a_zone_that_is_none() -> None:
    proxy = await ServiceProxy.start(["* clock/Nowhere"], UNLIMITED)
    client = await proxy.client()
    client.request("/")
    assert (await client.read_response()).status == 502
    client.drop()
    await proxy.stop()


@pytest.mark.usefixtures("plugins")
@pytest_twisted.ensureDeferred
async def test_the_level_filter_lets_important_items_pass() -> None:
    instruction = hold("stream", "Grip-Set-Meta: min_level=3", channel="news; filter=min-level")
    origin = await ScriptedOrigin.listen()
    origin.answers(instruction)
    proxy = await ServiceProxy.start([f"*,debug {origin.address}"], UNLIMITED)
    client = await proxy.client()
    client.request("/")
    body = client.body(await client.read_head())
    await proxy.held("news")
    for level in ("1", "3", "2", "5"):
        await proxy.publish_all([piece(level, channel="news", meta={"level": level})])
    await body.expect(b"35")
    await proxy.publish_all([piece("?", channel="news", meta={"level": "high"})])
    assert await body.rest() == b"\n\nfilter error: min-level: a level is no number\n"
    client.drop()
    await proxy.stop()
    await origin.stop()


# ---- ZeroMQ ------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_worker_on_zeromq_holds_and_somebody_publishes(tmp_path: Path) -> None:
    spec = f"ipc://{tmp_path}/workers"
    proxy = await ServiceProxy.start([f"* zhttpreq/{spec}"], UNLIMITED)
    worker = subprocess.Popen([sys.executable, str(EXAMPLES / "zmq_rep_worker.py"), spec])
    try:
        reader, writer = await proxy.client(), await proxy.client()
        reader.request("/")  # waits until the worker is there
        body = reader.body(await reader.read_head())
        await body.expect(b"welcome\n")
        await proxy.held("news")
        await proxy.publish("news", {"http-stream": {"content": "hello\n"}})
        await body.expect(b"hello\n")
        writer.request("/", method="POST", body=b"x")
        assert (await writer.read_response()).body == b"only GET\n"
    finally:
        worker.kill()
        worker.wait()
        reader.drop()
        writer.drop()
        await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_who_listens_to_what(tmp_path: Path) -> None:
    origin = await ScriptedOrigin.listen()
    origin.answers(hold("stream", channel="news"))
    spec = f"ipc://{tmp_path}/stats"
    settings = {"handler": {"stats_spec": spec, "stats_format": "json"}}
    proxy = await ServiceProxy.start([f"* {origin.address}"], settings)
    lines = tmp_path / "lines"
    with lines.open("wb") as output:
        watcher = subprocess.Popen([sys.executable, str(EXAMPLES / "zmq_stats.py"), spec], stdout=output)
    try:
        await proxy.watched()
        clients = [await proxy.client() for _ in range(2)]
        for number, client in enumerate(clients):
            client.request("/")
            await client.read_head()
            await proxy.held("news", number + 1)
        await proxy.advance(1.2)
        for number, client in enumerate(clients):
            client.drop()
            await proxy.held("news", 1 - number)
        expected = "stream news 1\nstream news 2\nstream news nobody\n"
        await until(lambda: lines.read_text() == expected, f"{expected!r}; it is {lines.read_text()!r}")
    finally:
        watcher.kill()
        watcher.wait()
        await proxy.stop()
        await origin.stop()


@pytest_twisted.ensureDeferred
async def test_a_worker_on_zeromq_streams_to_those_who_stay() -> None:
    spec = f"tcp://127.0.0.1:{free_ports()}"
    proxy = await ServiceProxy.start([f"* zhttp/{spec}"], UNLIMITED)
    worker = subprocess.Popen([sys.executable, str(EXAMPLES / "zmq_stream_worker.py"), spec])
    try:
        status = 502  # until the worker is there
        while status == 502:
            client = await proxy.client()
            client.request("/")
            head = await client.read_head()
            status = head.status
        body = client.body(head)
        lines = (await body.read(18)).splitlines()
        assert [time.strptime(line.decode(), "%H:%M:%S") for line in lines]
        assert len(lines) == 2
        client.drop()
        other = await proxy.client()
        other.request("/")
        assert (await other.read_head()).status == 200
        other.drop()
    finally:
        worker.kill()
        worker.wait()
        await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_a_program_that_asks_over_zeromq() -> None:
    """Its answer is longer than what it grants at once."""
    spec = f"tcp://127.0.0.1:{free_ports()}"
    origin = await ScriptedOrigin.listen()
    origin.answers(reply(body=b"0123456789" * 50_000))
    proxy = await ServiceProxy.start([f"* {origin.address}"], {**UNLIMITED, "tw": {"zhttp_in_spec": spec}})
    script = str(EXAMPLES / "zhttp_request.py")
    asking = getProcessOutputAndValue(sys.executable, [script, "http://a.example/b", spec], os.environ)
    output, errors, code = await within(asking, "the end of the program", 60)
    assert (output, errors, code) == (b"0123456789" * 50_000, b"200 OK\n", 0)
    (asked,) = origin.requests
    assert (asked.target, asked.get("Host")) == ("/b", "a.example")
    await proxy.stop()
    await origin.stop()
