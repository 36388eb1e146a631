"""``pushpin-ctl`` against a command socket that says what the test wants."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from pushpin_tw.publish import asking
from pushpin_tw.publish.asking import find_spec
from pushpin_tw.publish.ctl import DONE, NO_ANSWER, REFUSED, USAGE, main
from pushpin_tw.wire.tnetstring import decode, encode

SUCCESS = {"success": True, "value": None}


class Server:
    """Answers everything with the same, and keeps what it was asked."""

    def __init__(self, spec: str) -> None:
        self.asked: list[Any] = []
        self.frame = encode(SUCCESS)
        self.silent = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.ipv6 = True
        self._router.bind(spec)
        self.spec = self._router.last_endpoint.rstrip(b"\0").decode()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, **fields: Any) -> None:
        self.frame = encode(fields)

    def _serve(self) -> None:
        try:
            while True:
                *envelope, content = self._router.recv_multipart()
                self.asked.append(decode(content))
                if not self.silent:
                    self._router.send_multipart([*envelope, self.frame])
        except zmq.ContextTerminated:
            self._router.close(linger=0)

    def stop(self) -> None:
        self._context.term()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server("tcp://127.0.0.1:*")
    yield started
    started.stop()


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command against the server: exit code, output, errors."""

    def command(*argv: str) -> tuple[int, str, str]:
        try:
            code = main(["--spec", server.spec, *argv])
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


Run = Callable[..., tuple[int, str, str]]


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))


# ---- what is asked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "asked", "told"),
    [
        (["recover"], {"method": b"recover"}, "Recovering\n"),
        (["refresh", "--cid", "a"], {"method": b"refresh", "args": {"cid": b"a"}}, "Refreshed\n"),
        (
            ["refresh", "--channel=hä"],
            {"method": b"refresh", "args": {"channel": "hä".encode()}},
            "Refreshed\n",
        ),
        (["conncheck"], {"method": b"conncheck", "args": {"ids": []}}, ""),
        (["conncheck", "a", "b"], {"method": b"conncheck", "args": {"ids": [b"a", b"b"]}}, ""),
        (["zmq-uris"], {"method": b"get-zmq-uris"}, ""),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value),
)
def test_what_is_asked(server: Server, run: Run, argv: list[str], asked: Any, told: str) -> None:
    assert run(*argv) == (DONE, told, "")
    assert server.asked == [asked]


def item(**members: Any) -> dict[str, Any]:
    formats = {
        "http-response": {"code": 200, "body": b"hello\n"},
        "http-stream": {"content": b"hello\n"},
        "ws-message": {"content": b"hello"},
    }
    return {"channel": b"news", "formats": formats, **members}


@pytest.mark.parametrize(
    ("argv", "members"),
    [
        (["news", "hello"], {}),
        (["--id", "1", "news", "--prev-id", "0", "hello"], {"id": b"1", "prev-id": b"0"}),
        (["news", "--no-seq", "hello", "-M", "a=b"], {"no-seq": True, "meta": {"a": b"b"}}),
    ],
    ids=["plain", "ids", "more"],
)
def test_items_from_arguments(server: Server, run: Run, argv: list[str], members: dict[str, Any]) -> None:
    assert run("publish", *argv) == (DONE, "Published\n", "")
    assert server.asked == [{"method": b"publish", "args": {"items": [item(**members)]}}]


def published(server: Server) -> Any:
    (asked,) = server.asked
    return asked["args"]["items"]


PLAIN = {"channel": "c", "http-stream": {"content": "x"}, "id": None, "size": 5}
TOLD = {"channel": b"c", "http-stream": {"content": b"x"}, "id": None, "size": 5}


@pytest.mark.parametrize(
    ("document", "items"),
    [
        (PLAIN, [TOLD]),
        ([PLAIN, PLAIN], [TOLD, TOLD]),
        ({"items": [PLAIN]}, [TOLD]),
        ({"items": []}, []),
        (5, [5]),
        ([5, [], {"formats": 5}], [5, [], {"formats": 5}]),
        ({"items": 5}, [5]),
    ],
)
def test_items_from_standard_input(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch, document: Any, items: list[Any]
) -> None:
    """As over HTTP; what is wrong with an item, the proxy says."""
    feed(monkeypatch, json.dumps(document).encode())
    assert run("publish", "-") == (DONE, "Published\n", "")
    assert published(server) == items


def test_bytes_from_standard_input(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has base64 where tnetstrings have the bytes themselves."""
    formats = {
        "http-response": {"body-bin": "AP8=", "body": "lost", "code": 201},
        "http-stream": {"content-bin": "AP8="},
        "ws-message": {"content-bin": "AP8=", "content": "kept"},
        "other": {"content-bin": "AP8="},
    }
    feed(monkeypatch, json.dumps([{"formats": formats}, {"http-stream": {"content-bin": 5}}]).encode())
    assert run("publish", "-")[0] == DONE
    assert published(server) == [
        {
            "formats": {
                "http-response": {"body": b"\0\xff", "code": 201},
                "http-stream": {"content": b"\0\xff"},
                "ws-message": {"content-bin": b"\0\xff", "content": b"kept"},
                "other": {"content-bin": b"AP8="},
            }
        },
        {"http-stream": {"content-bin": 5}},
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "no JSON: "),
        (b"[NaN]", "no JSON: NaN is no JSON value"),
        (b"\xff", "no JSON: "),
        (b'{"http-stream":{"content-bin":"?"}}', "'http-stream' contains 'content-bin' that is no base64"),
        (b"[" * 100_000, "JSON is nested too deeply"),
        (b"[" * 900 + b"]" * 900, "JSON is nested too deeply"),
    ],
)
def test_input_that_is_none(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str
) -> None:
    feed(monkeypatch, data)
    code, out, err = run("publish", "-")
    assert (code, out) == (USAGE, "")
    assert f"Error: {words}" in err  # a finaliser that runs at that depth may have had its say before
    assert server.asked == []


# ---- what is answered --------------------------------------------------------------------------------------


def test_addresses(server: Server, run: Run) -> None:
    server.answer(success=True, value={"publish-pull": "tcp://a:1", "command": "tcp://a:2"})
    assert run("zmq-uris") == (DONE, "command       tcp://a:2\npublish-pull  tcp://a:1\n", "")
    told = {"success": True, "value": {"command": "tcp://a:2", "publish-pull": "tcp://a:1"}}
    code, out, err = run("zmq-uris", "--json")
    assert (code, json.loads(out), err) == (DONE, told, "")


def test_connections(server: Server, run: Run) -> None:
    server.answer(success=True, value=["connmgr:1", "b"])
    assert run("conncheck", "b", "c", "connmgr:1") == (DONE, "connmgr:1\nb\n", "")
    code, out, _ = run("--json", "conncheck", "b")
    assert (code, json.loads(out)["value"]) == (DONE, ["connmgr:1", "b"])


def test_a_refusal(server: Server, run: Run) -> None:
    server.answer(success=False, condition="item-not-found")
    assert run("refresh", "--cid", "a") == (REFUSED, "", "Error: item-not-found\n")
    server.answer(success=False, condition="bad-request", value="no formats")
    assert run("publish", "c", "x") == (REFUSED, "", "Error: bad-request: no formats\n")
    code, out, err = run("publish", "c", "x", "--json")
    told = {"success": False, "condition": "bad-request", "value": "no formats"}
    assert (code, json.loads(out), err) == (REFUSED, told, "")


def test_no_answer(server: Server, run: Run) -> None:
    server.silent = True
    code, out, err = run("--timeout", "0.05", "recover")
    assert (code, out) == (NO_ANSWER, "")
    assert err == f"Error: no answer from {server.spec} within 0.05 seconds\n"


def test_an_answer_that_is_none(server: Server, run: Run) -> None:
    server.frame = b"junk"
    code, _, err = run("recover")
    assert (code, err) == (
        NO_ANSWER,
        f"Error: no answer that could be read from {server.spec}: expected a size\n",
    )


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(asking, "CONNECT_TIMEOUT", 0.05)
    spec = f"ipc://{tmp_path}/none"
    assert run("recover", "--spec", spec) == (NO_ANSWER, "", f"Error: nobody takes commands at {spec}\n")


def test_ipv6(run: Run) -> None:
    server = Server("tcp://[::1]:*")
    try:
        assert run("recover", "--spec", server.spec)[0] == DONE
    finally:
        server.stop()


# ---- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["recover", "more"], "unrecognized arguments: more"),
        (["refresh"], "one of the arguments --cid --channel is required"),
        (["refresh", "--cid", "a", "--channel", "b"], "not allowed with"),
        (["recover", "--timeout", "0"], "no number of seconds: 0"),
        (["recover", "--timeout", "soon"], "no number of seconds: soon"),
        (["recover", "--instance", "one"], "no number: one"),
        (["recover", "--spec", "carrier://pigeon"], "Error: carrier://pigeon: Protocol not supported\n"),
        (["publish", "news"], "Error: must specify content\n"),
        (["publish", "news", "@/no/file"], "Error: can't read file /no/file"),
        (["publish", "-", "content"], "Error: - reads everything from standard input\n"),
        (["publish", "new\udcff", "x"], "Error: all but the content must be UTF-8\n"),
    ],
)
def test_wrong_usage(server: Server, run: Run, argv: list[str], words: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (USAGE, "")
    assert words in err
    assert server.asked == []


@pytest.mark.parametrize("argv", [["--help"], ["publish", "--help"], ["--version"]])
def test_help_and_version(run: Run, argv: list[str]) -> None:
    code, out, err = run(*argv)
    assert (code, err) == (DONE, "")
    assert "pushpin-ctl" in out


# ---- the address -------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configured(directory: Path, spec: str, name: str = "pushpin.conf", more: str = "") -> None:
    (directory / name).write_text(f"{more}[handler]\ncommand_spec={spec}\n")


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("tcp://127.0.0.1:5563", "tcp://127.0.0.1:5563"),
        ("tcp://*:5563", "tcp://127.0.0.1:5563"),
        ("tcp://0.0.0.0:5563", "tcp://127.0.0.1:5563"),
        ("tcp://[::]:5563", "tcp://[::1]:5563"),
        ("ipc://{rundir}/{ipc_prefix}command", "ipc://here/x-command"),
    ],
)
def test_the_address_in_a_configuration(directory: Path, spec: str, address: str) -> None:
    more = "[global]\nrundir=here\nipc_prefix=x-\n"
    configured(directory, spec, more=more)
    assert find_spec("", None) == address
    configured(directory, spec, "other.conf", more=more)
    assert find_spec("other.conf", None) == address


def test_the_address_of_an_instance(directory: Path) -> None:
    configured(directory, "tcp://127.0.0.1:5563", more="[global]\nport_offset=100\n")
    assert find_spec("", None) == "tcp://127.0.0.1:5663"
    assert find_spec("", 2) == "tcp://127.0.0.1:5583"


def test_it_is_used(directory: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "config").mkdir()
    configured(directory, "tcp://127.0.0.1:9")
    configured(directory, server.spec, "config/pushpin.conf")
    assert main(["recover"]) == DONE
    configured(directory, server.spec, "own.conf")
    assert main(["recover", "-c", "own.conf"]) == DONE
    assert main(["--config=own.conf", "recover"]) == DONE
    assert len(server.asked) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("spec", "argv", "words"),
    [
        (None, [], "no configuration file found (--config), and no address given (--spec). Tried: "),
        (None, ["-c", "other.conf"], "other.conf: cannot be read: No such file or directory"),
        ("", [], "pushpin.conf: command_spec is not set"),
        ("pigeon", [], "pushpin.conf:2: command_spec: expected an endpoint"),
    ],
)
def test_configurations_without_an_address(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spec: str | None,
    argv: list[str],
    words: str,
) -> None:
    monkeypatch.setattr(asking, "SEARCHED", ("pushpin.conf",))  # whatever this machine has
    if spec is not None:
        configured(directory, spec)
    assert main([*argv, "recover"]) == USAGE
    assert capsys.readouterr().err.startswith(f"Error: {words}")
