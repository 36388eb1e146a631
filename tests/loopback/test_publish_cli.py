"""``pushpin-publish`` against real sockets (proxy 3.3, C201, C202)."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from pushpin_tw.publish import sending
from pushpin_tw.publish.cli import main
from pushpin_tw.wire.tnetstring import decode
from tests.support.certificates import Authority

PUBLISHED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nPublished\n"


class Server:
    """Takes one connection, keeps what comes, answers, and stays connected."""

    def __init__(self, answer: bytes, certificate: tuple[str, str] | None = None) -> None:
        self._listener: socket.socket = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self.received = b""
        self._answer = answer
        self._certificate = certificate
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._accept() as client:
            client.settimeout(10)
            try:
                while not self._complete():
                    self.received += client.recv(65536)
                client.sendall(self._answer)
                client.recv(1)  # until the peer goes: nothing ends the answer but its length
            except OSError:
                return  # a peer that trusts nobody is gone at once

    def _accept(self) -> socket.socket:
        client = self._listener.accept()[0]
        if self._certificate is None:
            return client
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate)
        return context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)

    def _complete(self) -> bool:
        head, end, body = self.received.partition(b"\r\n\r\n")
        return bool(end) and len(body) == int(head.rpartition(b"Content-Length: ")[2])

    @property
    def item(self) -> Any:
        (item,) = json.loads(self.received.partition(b"\r\n\r\n")[2])["items"]
        return item

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(PUBLISHED)
    monkeypatch.setenv("GRIP_URL", server.url)
    yield server
    server.join()


def test_c201_the_request(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ch", "hello"]) == 0
    assert capsys.readouterr() == ("Published\n", "")
    assert (
        server.received
        == (
            f"POST /publish/ HTTP/1.0\r\nHost: {server.address}\r\n"
            "Content-Type: application/json\r\nContent-Length: 155\r\n\r\n"
            '{"items":[{"channel":"ch","formats":{"http-response":{"body":"hello\\n","code":200},'
            '"http-stream":{"content":"hello\\n"},"ws-message":{"content":"hello"}}}]}'
        ).encode()
    )


@pytest.mark.parametrize(("path", "expected"), [("/base", b"/base"), ("/", b"/"), ("/a?iss=b&key=c", b"/a")])
def test_the_path(server: Server, path: str, expected: bytes) -> None:
    assert main(["--spec", server.url + path, "ch", "hello"]) == 0
    assert server.received.startswith(b"POST " + expected + b"/publish/ HTTP/1.0\r\n")


def test_all_options(server: Server) -> None:
    options = "--id i1 --prev-id p1 --sender s --code 202 -M k=v --no-seq --no-eol -M sender=other"
    assert main([*options.split(), "-H", "X-A: b", "--header", "X-B :c ", "ch", "hello"]) == 0
    assert server.item == {
        "channel": "ch",
        "id": "i1",
        "prev-id": "p1",
        "meta": {"k": "v", "sender": "s"},
        "no-seq": True,
        "formats": {
            "http-response": {"code": 202, "headers": [["X-A", "b"], ["X-B ", "c"]], "body": "hello"},
            "http-stream": {"content": "hello"},
            "ws-message": {"content": "hello"},
        },
    }


HINT = {"action": "hint"}
CLOSE = {"action": "close"}


@pytest.mark.parametrize(
    ("argv", "formats"),
    [
        (["ch", "--hint", "--close"], {"http-response": HINT, "http-stream": HINT, "ws-message": HINT}),
        (["ch", "--close", "ignored"], {"http-stream": CLOSE, "ws-message": CLOSE}),
        (
            ["--patch", "ch", '[{"op": "add"}]'],
            {"http-response": {"code": 200, "body-patch": [{"op": "add"}]}},
        ),
        (
            ["ch", "--", "-x"],
            {
                "http-response": {"code": 200, "body": "-x\n"},
                "http-stream": {"content": "-x\n"},
                "ws-message": {"content": "-x"},
            },
        ),
        (
            ["ch", os.fsdecode(b"a\xff")],
            {
                "http-response": {"code": 200, "body-bin": "Yf8K"},
                "http-stream": {"content-bin": "Yf8K"},
                "ws-message": {"content-bin": "Yf8="},
            },
        ),
    ],
    ids=["hint", "close", "patch", "dash", "binary"],
)
def test_formats(server: Server, argv: list[str], formats: object) -> None:
    assert main(argv) == 0
    assert server.item == {"channel": "ch", "formats": formats}


@pytest.mark.parametrize(("data", "name"), [(b"hi", "content"), (b"a\xffb", "content-bin")])
def test_content_from_a_file_is_unchanged(server: Server, tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / "content"
    path.write_bytes(data)
    assert main(["ch", f"@{path}"]) == 0
    formats = server.item["formats"]
    assert formats["http-stream"] == formats["ws-message"] == {name: "hi" if data == b"hi" else "Yf9i"}


# ---- refusals ----------------------------------------------------------------------------------------------


def test_c202_the_server_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(b"HTTP/1.0 400 Bad Request\r\nContent-Length: 9\r\n\r\nbad news\n")
    assert main(["--spec", server.url, "ch", "hello"]) == 1
    server.join()
    assert capsys.readouterr() == ("", "Error: bad news\n")


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"]
)
def test_an_answer_that_is_none(capsys: pytest.CaptureFixture[str], answer: bytes) -> None:
    server = Server(answer)
    assert main(["--spec", server.url, "ch", "hello"]) == 1
    server.join()
    assert capsys.readouterr().err.startswith("Error: invalid answer: ")


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        assert main(["--spec", f"http://127.0.0.1:{port}", "ch", "hello"]) == 1
    assert capsys.readouterr().err == "Error: Connection refused\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ch"], "must specify content"),
        (["--patch", "ch", "{}"], "patch content must be a JSON array"),
        (["--patch", "ch", "[" * 100000], "patch content is nested too deeply"),
        (["--patch", "ch", "[NaN]"], "NaN is no JSON value"),
        (["--patch", "ch", "["], "Expecting value: line 1 column 2 (char 1)"),
        (["--code", "1000", "ch", "x"], "code must be an integer between 0 and 999"),
        (["--code", "9999999999", "ch", "x"], "code must be an integer between 0 and 999"),
        (["--code", "x", "ch", "x"], "failed to parse code: invalid digit found in string"),
        (["--code", "", "ch", "x"], "failed to parse code: cannot parse integer from empty string"),
        (["--header=x", "ch", "x"], 'header must be in the form "name: value"'),
        (["--meta=x", "ch", "x"], 'meta must be in the form "name=value"'),
        (["ch", "@no/file"], "can't read file no/file: No such file or directory (os error 2)"),
        (["-u", "a:b", "ch", "x"], "Authentication requires https"),
        (["-B", "token", "ch", "x"], "Authentication requires https"),
        (["--spec=https://h", "-B", "a\nb", "ch", "x"], "invalid token"),
        (["--spec=http://", "ch", "x"], "invalid URL"),
        (["--spec=http://h:x", "ch", "x"], "invalid URL"),
        (["--spec=http://h/a b", "ch", "x"], "invalid URL"),
        (["--spec=https:///x", "ch", "x"], "invalid URL"),
        ([os.fsdecode(b"c\xff"), "x"], "all but the content must be UTF-8"),
        (["--spec=nonsense", "ch", "x"], "nonsense: Invalid argument (addr='nonsense')"),
    ],
)
def test_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
) -> None:
    monkeypatch.delenv("GRIP_URL", raising=False)
    assert main(argv) == 1
    assert capsys.readouterr() == ("", f"Error: {message}\n")


@pytest.mark.parametrize(
    "argv", [[], ["--bad", "ch", "x"], ["ch", "a", "b"], ["-u", "a", "-B", "b", "ch", "x"]]
)
def test_options_without_sense(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: pushpin-publish")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([option])
    assert (caught.value.code, capsys.readouterr().out) == (0, "pushpin-publish 1.41.0\n")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (["-u", "me:secret"], b"Authorization: Basic bWU6c2VjcmV0"),
        (["-B", "token"], b"Authorization: Bearer token"),
    ],
)
def test_authentication(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: list[str], line: bytes
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    server = Server(PUBLISHED, authority.certificate("127.0.0.1"))
    assert main(["--spec", f"https://{server.address}", *option, "ch", "x"]) == 0
    server.join()
    assert line in server.received.split(b"\r\n")


def test_certificates_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(PUBLISHED, Authority(tmp_path).certificate("127.0.0.1"))
    assert main(["--spec", f"https://{server.address}", "-B", "token", "ch", "x"]) == 1
    server.join()
    assert "certificate" in capsys.readouterr().err.lower()
    assert server.received == b""


# ---- ZeroMQ ------------------------------------------------------------------------------------------------


@pytest.fixture
def puller() -> Iterator[tuple[zmq.Socket[bytes], str]]:
    with zmq.Context() as context, context.socket(zmq.PULL) as puller:
        puller.rcvtimeo = 10000
        port = puller.bind_to_random_port("tcp://127.0.0.1")
        yield puller, f"tcp://127.0.0.1:{port}"


def test_an_item_over_zeromq(
    puller: tuple[zmq.Socket[bytes], str], capsys: pytest.CaptureFixture[str]
) -> None:
    pull, spec = puller
    assert main(["--spec", spec, "--id", "i", "ch", os.fsdecode(b"a\xff")]) == 0
    assert capsys.readouterr().out == "Published\n"
    assert decode(pull.recv()) == {
        "channel": b"ch",
        "id": b"i",
        "formats": {
            "http-response": {"code": 200, "body": b"a\xff\n"},
            "http-stream": {"content": b"a\xff\n"},
            "ws-message": {"content-bin": b"a\xff"},
        },
    }


def test_text_over_zeromq(puller: tuple[zmq.Socket[bytes], str]) -> None:
    pull, spec = puller
    assert main(["--spec", spec, "ch", "text"]) == 0
    assert decode(pull.recv())["formats"]["ws-message"] == {"content": b"text"}


def test_nobody_pulls(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sending, "CONNECT_TIMEOUT", 1)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        spec = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
        assert main(["--spec", spec, "ch", "x"]) == 1
    assert capsys.readouterr().err == f"Error: nobody answered at {spec} within 1 seconds\n"
