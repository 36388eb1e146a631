"""How targets are written, and which addresses are private (proxy 1.4, 4.8)."""

from __future__ import annotations

import pytest

from pushpin_tw.errors import RouteSyntaxError
from pushpin_tw.routing.route import (
    parse_host_port,
    parse_no_address,
    parse_zmq_spec,
    private_address,
    split_host_port,
)


@pytest.mark.parametrize(
    ("text", "host", "port", "normal"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80, "127.0.0.1:80"),
        ("a_b.example.:00080", "a_b.example.", 80, "a_b.example.:80"),
        ("[0:0::1]:9214", "::1", 9214, "[::1]:9214"),
    ],
)
def test_host_and_port(text: str, host: str, port: int, normal: str) -> None:
    assert split_host_port(text) == (host, port)
    assert parse_host_port(text) == normal
    assert parse_host_port(normal) == normal


@pytest.mark.parametrize("text", ["", "a", "[::1]", "[x]:1", "a b:1", "a/b:1", "é:1", "[a:1", "a..b:1"])
def test_bad_format(text: str) -> None:
    with pytest.raises(RouteSyntaxError, match=r"^target (bad format|invalid port)$"):
        parse_host_port(text)


@pytest.mark.parametrize(
    "text", ["a:0", "a:65536", "a:", "a:-1", "a:+1", "a:1 ", "[::1]:", "[::1]", "[::1]80", "a:\u0661"]
)
def test_bad_port(text: str) -> None:
    with pytest.raises(RouteSyntaxError, match=r"^target invalid port$"):
        parse_host_port(text)


def test_a_single_word() -> None:
    assert parse_no_address("") == ""
    with pytest.raises(RouteSyntaxError, match=r"^target bad format$"):
        parse_no_address("x")


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:1", "tcp://[::1]:5", "tcp://*:1", "ipc:///tmp/x"])
def test_zmq_specs(text: str) -> None:
    assert parse_zmq_spec(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "target bad format"),
        ("ipc://", "target bad format"),
        ("http://h:1", "target bad format"),
        ("tcp://h", "target bad format"),
        ("tcp://:1", "target bad format"),
        ("ipc:///a\tb", "target bad format"),
        ("tcp://h:99999", "target invalid port"),
    ],
)
def test_bad_zmq_specs(text: str, message: str) -> None:
    with pytest.raises(RouteSyntaxError, match=f"^{message}$"):
        parse_zmq_spec(text)


PRIVATE = [
    *(
        "127.0.0.1",
        "127.255.0.9",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.169.254",
    ),
    *("::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%lo", "febf::1"),
    *("::ffff:127.0.0.1", "::ffff:a00:1", "0.0.0.0", "::"),
    *("", "localhost", "1.2.3", "0x7f.1"),
]
PUBLIC = [
    *("8.8.8.8", "172.15.0.1", "172.32.0.1", "192.169.0.1", "11.0.0.1", "126.0.0.1", "128.0.0.1"),
    *("2001:db8::1", "fec0::1", "::2", "::ffff:8.8.8.8"),
]


@pytest.mark.parametrize("ip", PRIVATE)
def test_private_addresses(ip: str) -> None:
    assert private_address(ip)


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_addresses(ip: str) -> None:
    assert not private_address(ip)
