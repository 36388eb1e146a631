"""The servers under test: this program, Debian's pushpin, nginx with nchan. One origin, one load, one run.

Each knows how to be configured and started, which requests make it hold a client, and how a message is
published on it. Used by all measures. Never listens on anything but 127.0.0.1, keeps all its files in a
temporary directory.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import benchmarks
from benchmarks.origin import CHANNEL, OPENING, PLAIN_BODY
from benchmarks.process import Program, free_ports
from benchmarks.verify import DEFLATE, KEY, is_response, read_head

START_PATIENCE = 20.0  # seconds until a server must answer a request
PUBLISH_PATIENCE = 60.0  # seconds until a publish must be acknowledged
CLIENTS_MAX = 18000  # what a server is configured for; below the usual limit of open files
NO_LIMIT = 100_000_000
WORKER_PATH = "/worker"  # what goes to a worker on ZeroMQ, where there is such a thing
STREAM_PATH = "/streaming-worker"  # the same to one that streams
STREAM, RESPONSE, SOCKET = "http-stream", "http-response", "ws-message"
CONTENT_KEYS = {STREAM: "content", RESPONSE: "body", SOCKET: "content"}
ACKNOWLEDGED = re.compile(rb"HTTP/1\.1 20[0-2] ")


def get_request(path: str, *headers: str) -> bytes:
    """A GET request without a body, in bytes."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers]).encode() + b"\r\n\r\n"


def socket_request(path: str, *headers: str) -> bytes:
    """A handshake, in bytes."""
    version, key = "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"
    return get_request(path, "Upgrade: websocket", "Connection: Upgrade", version, key, *headers)


OFFER = (
    f"Sec-WebSocket-Extensions: {DEFLATE.decode()}; server_no_context_takeover; client_no_context_takeover"
)


def post_request(path: str, body: bytes, *headers: str) -> bytes:
    """A POST request, in bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class NotStarted(Exception):
    """A server that is installed did not answer; the text is what it wrote last."""


class Server:
    """What the measures need to know about a server; a context manager that starts and stops it."""

    name: ClassVar[str]
    opening: ClassVar[bytes] = OPENING  # the content of a stream that arrives when it is held
    plain_request: ClassVar[bytes] = get_request("/")
    stream_request: ClassVar[bytes] = get_request("/stream")
    hold_request: ClassVar[bytes] = get_request("/hold")
    note: ClassVar[str] = ""  # what the reader of a table must know

    def __init__(self, origin_port: int, events_port: int, log_level: int, compress: bool) -> None:
        self._origin_port = origin_port
        self._events_port = events_port
        self._compress = compress
        self._log_level = log_level
        self._directory = Path()
        self.port, self._control_port, self.worker_port, *self._more_ports = free_ports(6)

    @classmethod
    def missing(cls) -> str:
        """Why this server cannot be measured here; empty if it can."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """Name and version, as printed."""
        raise NotImplementedError

    def _configure(self) -> list[str]:
        """Write the configuration; returns the command line."""
        raise NotImplementedError

    def messages(self, contents: list[bytes], as_what: str) -> bytes:
        """The bytes to send to the control port so that `contents` are published; `as_what` is a format of
        items."""
        raise NotImplementedError

    @classmethod
    def _files_below(cls) -> str | None:
        """The directory for configuration and sockets; None for the system's usual one."""
        return None

    @property
    def socket_request(self) -> bytes:
        """The handshake of a WebSocket."""
        return socket_request("/ws", OFFER) if self._compress else socket_request("/ws")

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        return ("127.0.0.1", self.port)

    def __enter__(self) -> Server:
        self._directory = Path(tempfile.mkdtemp(prefix="bench-", dir=self._files_below()))
        command = self._configure()
        root = Path(benchmarks.__file__).parent.parent
        self.program = Program(command, self._directory / "output", cwd=root)
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.program.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_PATIENCE
        while time.monotonic() < end and self.program.running:
            try:
                with socket.create_connection(("127.0.0.1", self._control_port), timeout=2):
                    pass
                with socket.create_connection(self.address, timeout=5) as probe:
                    probe.sendall(self.plain_request)
                    data = b""
                    while piece := probe.recv(65536):
                        data += piece
                        head = read_head(data)
                        if head is not None and (head.status != 200 or is_response(data, PLAIN_BODY)):
                            break
                    if data.startswith(b"HTTP/1.1 200"):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise NotStarted(f"{self.name} did not start:\n{self.program.log_tail()}")

    def publish(self, contents: list[bytes], as_what: str) -> float:
        """Publish and wait to be acknowledged; returns the time (monotonic clock) just before sending."""
        data = self.messages(contents, as_what)
        expected = self._posts(contents)
        answers = b""
        control = ("127.0.0.1", self._control_port)
        with socket.create_connection(control, timeout=PUBLISH_PATIENCE) as publisher:
            publisher.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            start = time.monotonic()
            publisher.sendall(data)
            while len(ACKNOWLEDGED.findall(answers)) < expected:
                piece = publisher.recv(65536)
                if not piece:
                    raise RuntimeError(f"{self.name} refused a publish: {answers[:200]!r}")
                answers += piece
        return start

    def _posts(self, contents: list[bytes]) -> int:
        """How many requests carry `contents`."""
        return 1


class Pushpin(Server):
    """Debian's pushpin with its three helpers (condure, zurl, the runner's two daemons)."""

    name = "pushpin"
    _libdir: ClassVar[Path] = Path("/usr/lib/pushpin")

    @classmethod
    def missing(cls) -> str:
        for program in ("pushpin", "condure", "zurl"):
            if shutil.which(program) is None:
                return f"{program} is not installed"
        return "" if cls._libdir.is_dir() else f"{cls._libdir} is missing"

    @classmethod
    def version(cls) -> str:
        return subprocess.run(
            ["pushpin", "--version"], capture_output=True, text=True, timeout=10
        ).stdout.strip()

    def messages(self, contents: list[bytes], as_what: str) -> bytes:
        key = CONTENT_KEYS[as_what]
        items = [{"channel": CHANNEL, "formats": {as_what: {key: content.decode()}}} for content in contents]
        return post_request("/publish/", json.dumps({"items": items}).encode())

    @property
    def pull_spec(self) -> str:
        """Where items are pushed to."""
        return f"tcp://127.0.0.1:{self._more_ports[0]}"

    @property
    def sub_spec(self) -> str:
        """Where publishers connect to that know who is subscribed."""
        return f"tcp://127.0.0.1:{self._more_ports[1]}"

    def _sections(self) -> dict[str, dict[str, object]]:
        """The configuration that both this program and the original read in the same way."""
        command = self._more_ports[2]
        return {
            "global": {"rundir": self._directory, "ipc_prefix": "bench-"},
            "runner": {
                "http_port": f"127.0.0.1:{self.port}",
                "logdir": self._directory,
                "log_level": self._log_level,
                "client_maxconn": CLIENTS_MAX,
                "allow_compression": str(self._compress).lower(),
            },
            "proxy": {"routesfile": "routes", "sig_key": "benchmark"},
            "handler": {
                "push_in_spec": self.pull_spec,
                "push_in_sub_specs": self.sub_spec,
                "push_in_http_addr": "127.0.0.1",
                "push_in_http_port": self._control_port,
                "command_spec": f"tcp://127.0.0.1:{command}",
                "message_rate": -1,
                "message_hwm": -1,
            },
        }

    @property
    def stream_spec(self) -> str:
        """Where workers that stream connect to."""
        return f"ipc://{self._directory}/streams"

    def _write(self, sections: dict[str, dict[str, object]]) -> Path:
        lines = []
        for section, keys in sections.items():
            lines += [f"[{section}]", *(f"{key}={value}" for key, value in keys.items()), ""]
        routes = [
            f"*,path_beg=/ws 127.0.0.1:{self._events_port},over_http",
            f"*,path_beg={WORKER_PATH} zhttpreq/tcp://127.0.0.1:{self.worker_port}",
            f"*,path_beg={STREAM_PATH} zhttp/{self.stream_spec}",
            f"* 127.0.0.1:{self._origin_port}",
        ]
        (self._directory / "routes").write_text("\n".join([*routes, ""]))
        file = self._directory / "pushpin.conf"
        file.write_text("\n".join(lines))
        return file

    def _configure(self) -> list[str]:
        sections = self._sections()
        sections["global"] = {"include": self._libdir / "internal.conf", **sections["global"]}
        sections["runner"]["services"] = "condure,zurl,pushpin-proxy,pushpin-handler"
        socket_path = f"ipc://{self._directory}/bench-zurl"
        sections["proxy"] |= {
            "zurl_out_specs": f"{socket_path}-in",
            "zurl_out_stream_specs": f"{socket_path}-in-stream",
            "zurl_in_specs": f"{socket_path}-out",
        }
        return ["pushpin", "--merge-output", f"--config={self._write(sections)}"]


class RootedPushpin(Pushpin):
    """Another pushpin, in a folder of its own that is entered with chroot: the current release, where the
    system packages an older one.  ``debootstrap --variant=minbase --include=pushpin sid DIR`` makes such a
    folder."""

    name = "pushpin-root"
    _root: ClassVar[str] = os.environ.get("PUSHPIN_ROOT", "")

    @classmethod
    def missing(cls) -> str:
        if not cls._root:
            return "PUSHPIN_ROOT names no folder"
        if os.geteuid():
            return "chroot is for root"
        found = Path(cls._root, "usr/bin/pushpin").exists()
        return "" if found else f"no pushpin in {cls._root}"

    @classmethod
    def version(cls) -> str:
        command = ["chroot", cls._root, "pushpin", "--version"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()

    @classmethod
    def _files_below(cls) -> str | None:
        return f"{cls._root}/tmp"

    def _configure(self) -> list[str]:
        inside = f"/tmp/{self._directory.name}"
        sections = self._sections()
        sections["global"] |= {"include": "{libdir}/internal.conf", "rundir": inside}
        sections["runner"] |= {"services": "connmgr,proxy,handler", "logdir": inside}
        file = self._write(sections)
        return ["chroot", self._root, "pushpin", "--merge-output", f"--config={inside}/{file.name}"]


class Ours(Pushpin):
    """This program, from this checkout, on the interpreter that runs the benchmark."""

    name = "pushpin_tw"
    workers: ClassVar[int] = 1  # processes that serve clients

    @classmethod
    def missing(cls) -> str:
        for module in ("twisted", "pushpin_tw", "pushpin_tw.service"):
            if find_spec(module) is None:
                return f"no module named {module}"
        return ""

    @classmethod
    def version(cls) -> str:
        import pushpin_tw
        import twisted

        python = ".".join(map(str, sys.version_info[:3]))
        return f"pushpin_tw {pushpin_tw.__version__}, Twisted {twisted.__version__}, Python {python}"

    def _configure(self) -> list[str]:
        sections = self._sections()
        # Unset is what this program comes with: no limit at all, which it takes as leave to join items.
        for key in ("message_rate", "message_hwm"):
            del sections["handler"][key]
        if self.workers > 1:
            sections["tw"] = {"workers": self.workers}
        return [sys.executable, "-m", "twisted", "pushpin", "-c", str(self._write(sections))]


NGINX_CONF = """
worker_processes 1;
daemon off;
user {user};
pid {directory}/pid;
error_log {directory}/error.log;
load_module {module};
events {{ worker_connections {clients}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests {no_limit};
    nchan_shared_memory_size 256M;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests {no_limit}; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{control};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        nchan_channel_id {channel};
        nchan_subscriber_first_message newest;
        nchan_subscriber_timeout 0;
        location = / {{ proxy_pass http://origin; }}
        location = /auth {{ internal; proxy_pass http://origin; }}
        location = /stream {{ nchan_subscriber http-chunked; nchan_authorize_request /auth; }}
        location = /hold {{ nchan_subscriber longpoll; nchan_authorize_request /auth; }}
        location = /ws {{ nchan_subscriber websocket; nchan_authorize_request /auth; }}
        location = /publish/ {{ nchan_publisher http; nchan_message_buffer_length 50; {deflate} }}
    }}
}}
"""


class Nchan(Server):
    """nginx with the nchan module: one worker, subscriptions permitted by the same origin."""

    name = "nchan"
    opening = b""
    stream_request = get_request("/stream", "TE: chunked")
    _module: ClassVar[Path] = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    note = "nchan: one nginx worker; it asks the origin for permission to hold (nchan_authorize_request)"

    @classmethod
    def missing(cls) -> str:
        if shutil.which("nginx") is None:
            return "nginx is not installed"
        return "" if cls._module.exists() else "libnginx-mod-nchan is not installed"

    @classmethod
    def version(cls) -> str:
        nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, timeout=10).stderr.strip()
        query = ["dpkg-query", "--show", "--showformat=${Version}", "libnginx-mod-nchan"]
        nchan = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.strip()
        return f"{nginx.rpartition(' ')[2]} with nchan {nchan}"

    def messages(self, contents: list[bytes], as_what: str) -> bytes:
        return b"".join(post_request("/publish/", content) for content in contents)

    def _posts(self, contents: list[bytes]) -> int:
        return len(contents)

    def _configure(self) -> list[str]:
        file = self._directory / "nginx.conf"
        file.write_text(
            NGINX_CONF.format(
                module=self._module,
                clients=CLIENTS_MAX + 1000,
                user=pwd.getpwuid(os.geteuid()).pw_name,
                directory=self._directory,
                no_limit=NO_LIMIT,
                origin=self._origin_port,
                port=self.port,
                control=self._control_port,
                channel=CHANNEL,
                deflate="nchan_deflate_message_for_websocket on;" if self._compress else "",
            )
        )
        return ["nginx", "-p", str(self._directory), "-c", str(file)]


SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (Ours, Pushpin, RootedPushpin, Nchan)}
