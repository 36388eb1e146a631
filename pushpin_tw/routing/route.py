"""Routes and targets as values, and the pure checks of how targets are written (proxy 1.3, 1.4, 4.8).

Made by ``routefile``, read by every room that serves a request.  The functions are called by the built-in
target types and by ``origin``.  Never resolves a name, never opens anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Network, IPv6Address, IPv6Network, ip_address

from pushpin_tw.errors import RouteSyntaxError
from pushpin_tw.routing.uri import Authority
from pushpin_tw.wire.gripsig import Signer
from pushpin_tw.wire.headers import Header


@dataclass(frozen=True, slots=True)
class Condition:
    """When a route applies."""

    host: str = "*"
    """'*' for any; '' when the route is only reachable by its id."""
    proto: str = ""
    """'http', 'ws', or '' for both."""
    ssl: bool | None = None
    """Whether the client must speak TLS; None when it does not matter."""
    path_beg: bytes = b""
    """How the encoded path must begin; compared byte by byte."""

    @property
    def implicit_id(self) -> str:
        """The id of a route that names none (proxy 1.5).  The TLS part is the wrong way round: so it was
        in the original, and so people have written it in Pushpin-Route headers."""
        ssl = "*" if self.ssl is None else "no-ssl" if self.ssl else "ssl"
        path = self.path_beg.decode("utf-8", "replace") or "*"
        return f"{self.host},{self.proto or '*'},{ssl},{path}"


@dataclass(frozen=True, slots=True)
class Target:
    """One destination on a route."""

    kind: str
    """The prefix of its target type: '' for HOST:PORT, else 'test', 'zhttp', ..."""
    address: str = ""
    """What the target type made of the words behind the prefix."""
    ssl: bool = False
    insecure: bool = False
    trust_connect_host: bool = False
    host: Authority | None = None
    """Replaces host and port of the request's URI."""
    untrusted: bool = False
    subs: tuple[str, ...] = ()
    """Channels that every hold on this target is subscribed to besides its own."""
    over_http: bool = False
    one_event: bool = False
    ipc_file_mode: int | None = None
    client_cert: str = ""
    """Path of a PEM file, from the working directory."""
    client_key: str = ""

    @property
    def label(self) -> str:
        """How logs and error texts call it."""
        return "/".join(filter(None, (self.kind, self.address)))


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a routes file; one attribute for each property of proxy 1.3."""

    condition: Condition
    targets: tuple[Target, ...]
    id: str = ""
    explicit_id: bool = False
    """Whether the line named its id; switches on statistics of its own."""
    signer: Signer | None = None
    """Made from ``sig_iss`` and ``sig_key`` of the route or the configuration; None: no Grip-Sig."""
    prefix: str = ""
    orig_headers: bool = False
    as_host: Authority | None = None
    path_rem: int = 0
    """Leading bytes of the path to drop; with ``replace_beg`` the length of ``path_beg``."""
    replace_beg: bytes = b""
    """What is put in front of the path after that."""
    debug: bool = False
    aco: bool = False
    jsonp_mode: str = "extended"
    jsonp_cb: str = "callback"
    jsonp_body: str = ""
    """'' for ``_body``, which is read otherwise than a parameter of a chosen name."""
    jsonp_defcb: str = ""
    jsonp_defmethod: str = "GET"
    session: bool = False
    sockjs: bytes = b""
    sockjs_as_path: bytes = b""
    set_headers: tuple[Header, ...] = ()
    """From ``header``, in the order in which they are appended."""
    drop_headers: frozenset[bytes] = frozenset()
    """From ``header``: names, in lower case, of which the client's own headers are removed."""
    no_grip: bool = False
    log_level: int | None = None

    @property
    def named(self) -> str:
        """The id if the line named one, else ''."""
        return self.id if self.explicit_id else ""


# ---- how targets are written -------------------------------------------------------------------------------

_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*)|.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_PORT = re.compile(r"[0-9]{1,5}")


def split_host_port(address: str) -> tuple[str, int]:
    """Host (an IPv6 address without brackets) and port of ``HOST:PORT`` or ``[IPV6]:PORT``.

    :raises RouteSyntaxError: ``target bad format`` or ``target invalid port``.
    """
    if ":" not in address:
        raise RouteSyntaxError("target bad format")
    found = _BRACKETED.fullmatch(address)
    host, port = found.groups() if found is not None else address.split(":", 1)
    if not _PORT.fullmatch(port or "") or not 0 < int(port) < 65536:
        raise RouteSyntaxError("target invalid port")
    if found is not None:
        try:
            return str(IPv6Address(host)), int(port)
        except AddressValueError:
            raise RouteSyntaxError("target bad format") from None
    if not _NAME.fullmatch(host):
        raise RouteSyntaxError("target bad format")
    return host, int(port)


def parse_host_port(address: str) -> str:
    """``HOST:PORT`` or ``[IPV6]:PORT``, normalised.

    :raises RouteSyntaxError: see ``split_host_port``.
    """
    host, port = split_host_port(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_no_address(address: str) -> str:
    """For target types that are a single word, such as ``test``.

    :raises RouteSyntaxError: something stands behind the word.
    """
    if address:
        raise RouteSyntaxError("target bad format")
    return ""


def parse_zmq_spec(address: str) -> str:
    """A ZeroMQ endpoint, ``TRANSPORT://ADDRESS``, for ``zhttp`` and ``zhttpreq``.

    :raises RouteSyntaxError: ``target bad format`` or ``target invalid port``.
    """
    transport, mark, rest = address.partition("://")
    if not mark or not rest or transport not in ("tcp", "ipc", "inproc") or not rest.isprintable():
        raise RouteSyntaxError("target bad format")
    if transport == "tcp":
        host, colon, port = rest.rpartition(":")
        if not host or not colon:
            raise RouteSyntaxError("target bad format")
        if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
            raise RouteSyntaxError("target invalid port")
    return address


def zhttp_specs(spec: str) -> tuple[str, str, str]:
    """The three addresses that ``spec``, which ``parse_zmq_spec`` has let pass, stands for (zeromq 2.1): for
    first packets, for later ones of the same side, and for those of the other side."""
    if not spec.startswith("tcp://"):
        return f"{spec}-out", f"{spec}-out-stream", f"{spec}-in"
    base, _, port = spec.rpartition(":")
    return spec, f"{base}:{int(port) + 1}", f"{base}:{int(port) + 2}"


# ---- private addresses -------------------------------------------------------------------------------------

# Beside the list of proxy 4.8 the unspecified addresses: connecting to them reaches this very host.
_PRIVATE4 = tuple(
    map(
        IPv4Network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "0.0.0.0/8"),
    )
)
_PRIVATE6 = tuple(map(IPv6Network, ("::1/128", "fc00::/7", "fe80::/10", "::/128")))


@lru_cache(maxsize=1024)
def private_address(ip: str) -> bool:
    """Whether an ``untrusted`` target may not connect to ``ip``.  Also true for what is no IP address.

    An IPv4 address within IPv6 counts as what it stands for.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        return True
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return any(address in network for network in _PRIVATE6)
        address = address.ipv4_mapped
    return any(address in network for network in _PRIVATE4)
