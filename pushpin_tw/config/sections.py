"""Every key of pushpin.conf: its type, its default and what it means (proxy 2.3-2.6).

Filled by ``config.reading``, read by everybody.  The attribute has the name of the key.  Defaults are those
of a key that is absent; the sample file sets some of them otherwise.  Knows no file and no other section.
"""

# ruff: noqa: RUF009 (_key is dataclasses.field by another name)

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pushpin_tw.config import kinds
from pushpin_tw.config.listen import Listen, LocalListen
from pushpin_tw.config.loglevel import LogLevels


def _key(kind: kinds.Kind, default: Any, *, secret: bool = False) -> Any:
    """``secret`` values never show when a section is printed."""
    return field(default=default, metadata={"kind": kind}, repr=not secret)


@dataclass(frozen=True, slots=True)
class Global:
    """``[global]``"""

    include: str = _key(kinds.text, "")
    """One more file, which supplies keys that are missing here."""
    libdir: str = _key(kinds.text, "/usr/lib/pushpin")
    """Deprecated; where ``include=internal.conf`` looks."""
    rundir: str = _key(kinds.text, "run")
    """Pid files and IPC sockets; relative to the working directory."""
    ipc_prefix: str = _key(kinds.line, "pushpin-")
    """What names of IPC sockets begin with; as ``--id`` makes it, if given."""
    port_offset: int = _key(kinds.integer(0, 65535), 0)
    """Is already added to tcp endpoints and to ``push_in_http_port``; as ``--id`` makes it, if given."""
    stats_connection_ttl: int = _key(kinds.integer(0), 120)
    """Seconds that statistics of a connection live."""
    stats_connection_send: bool = _key(kinds.flag, True)
    """Emit statistics for each connection."""


@dataclass(frozen=True, slots=True)
class Runner:
    """``[runner]``"""

    services: tuple[str, ...] = _key(kinds.words, ())
    """Which parts to run; everything runs anyhow."""
    http_port: tuple[Listen, ...] = _key(kinds.ports("http"), ())
    """Plain listeners."""
    https_ports: tuple[Listen, ...] = _key(kinds.ports("https"), ())
    """TLS listeners."""
    local_ports: tuple[LocalListen, ...] = _key(kinds.local_ports, ())
    """Unix sockets."""
    logdir: str = _key(kinds.text, "")
    """Log files; relative to the working directory, which is also the default."""
    log_level: LogLevels = _key(kinds.log_levels, LogLevels())
    """How much each service says."""
    client_buffer_size: int = _key(kinds.integer(1024), 8192)
    """Bytes: limit of a request's head, and size of a connection's buffer."""
    client_maxconn: int = _key(kinds.integer(1), 50000)
    """Clients at the same time."""
    allow_compression: bool = _key(kinds.flag, False)
    """Compression of WebSocket messages, on both sides."""
    rundir: str = _key(kinds.text, "")
    """Deprecated."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """``[proxy]``"""

    routesfile: str = _key(kinds.text, "")
    """The routes; relative to the configuration file.  ``Config.routes_path`` is resolved."""
    debug: bool = _key(kinds.flag, False)
    """Debug mode for all routes."""
    auto_cross_origin: bool = _key(kinds.flag, False)
    """CORS and JSON-P for all routes."""
    accept_x_forwarded_protocol: bool = _key(kinds.flag, False)
    """Believe the client's X-Forwarded-Proto."""
    set_x_forwarded_protocol: str = _key(kinds.forwarded_protocol, "")
    """'true': send X-Forwarded-Proto and -Protocol; 'proto-only': the first; '': neither."""
    x_forwarded_for: tuple[str, ...] = _key(kinds.words, ())
    """Words of the rule of proxy 4.5 for untrusted requests."""
    x_forwarded_for_trusted: tuple[str, ...] = _key(kinds.words, ())
    """The same for trusted ones."""
    orig_headers_need_mark: tuple[str, ...] = _key(kinds.words, ())
    """Names that ``orig_headers`` routes keep only when marked."""
    accept_pushpin_route: bool = _key(kinds.flag, False)
    """Honour the header Pushpin-Route."""
    cdn_loop: str = _key(kinds.line, "")
    """Token for the header CDN-Loop."""
    log_from: bool = _key(kinds.flag, False)
    """Clients' addresses in request logs."""
    log_user_agent: bool = _key(kinds.flag, False)
    """User agents in request logs."""
    sig_iss: str = _key(kinds.text, "pushpin")
    """Issuer of Grip-Sig; '' disables signing."""
    sig_key: str = _key(kinds.text, "", secret=True)
    """Key of Grip-Sig, as ``wire.gripsig.load_key`` reads it."""
    upstream_key: str = _key(kinds.text, "", secret=True)
    """Key of proxies in front of this one."""
    sockjs_url: str = _key(kinds.line, "")
    """Script for the SockJS iframe page."""
    workers: int = _key(kinds.integer(1), 1)
    """Threads of the original; no effect."""
    max_open_requests: int = _key(kinds.integer(-1), -1)
    """Requests under way at all targets; below 1: as many as clients."""
    ipc_file_mode: int = _key(kinds.octal, -1)
    """Permissions of IPC sockets; -1: left to the umask."""
    stats_spec: str = _key(kinds.endpoint, "")
    """PUB for statistics of the proxy part."""
    command_spec: str = _key(kinds.endpoint, "")
    """REP for commands to the proxy part."""
    stats_connections_max_ttl: int = _key(kinds.integer(0), 60)
    """Seconds that maxima of connections live."""
    stats_report_interval: int = _key(kinds.integer(0), 10)
    """Seconds."""
    prometheus_port: Listen | LocalListen | None = _key(kinds.metrics_port, None)
    """Metrics of the proxy part."""
    prometheus_prefix: str = _key(kinds.metrics_prefix, "")
    """What their names begin with."""


@dataclass(frozen=True, slots=True)
class Handler:
    """``[handler]``"""

    ipc_file_mode: int = _key(kinds.octal, -1)
    """Permissions of IPC sockets; -1: left to the umask."""
    push_in_spec: str = _key(kinds.endpoint, "")
    """PULL for publishing."""
    push_in_sub_specs: tuple[str, ...] = _key(kinds.endpoints, ())
    """SUB for publishing; ends with ``push_in_sub_spec``."""
    push_in_sub_spec: str = _key(kinds.endpoint, "")
    """Older singular form."""
    push_in_sub_connect: bool = _key(kinds.flag, False)
    """Connect the SUB socket instead of binding it."""
    push_in_http_addr: str = _key(kinds.ip_address, "")
    """Address of the HTTP control API; '': every one."""
    push_in_http_port: int = _key(kinds.integer(0, 65535), 0)
    """Its port, ``port_offset`` added; 0: off."""
    push_in_http_max_headers_size: int = _key(kinds.integer(1), 10000)
    """Bytes."""
    push_in_http_max_body_size: int = _key(kinds.integer(1), 1000000)
    """Bytes."""
    stats_spec: str = _key(kinds.endpoint, "")
    """PUB for statistics."""
    command_spec: str = _key(kinds.endpoint, "")
    """REP for commands."""
    state_spec: str = _key(kinds.endpoint, "")
    """A session state service."""
    share_all: bool = _key(kinds.flag, False)
    """Share identical requests."""
    message_rate: int = _key(kinds.integer(-1), -1)
    """Deliveries per second; -1: unlimited."""
    message_hwm: int = _key(kinds.integer(-1), -1)
    """Deliveries that may wait for the rate limiter; -1: unlimited."""
    message_block_size: int = _key(kinds.integer(-1), -1)
    """Bytes of a block in statistics; -1: blocks are not counted."""
    message_wait: int = _key(kinds.integer(0), 5000)
    """Milliseconds to wait for messages out of order."""
    id_cache_ttl: int = _key(kinds.integer(0), 0)
    """Seconds to know a message's id again."""
    update_on_first_subscription: bool = _key(kinds.flag, True)
    """Ask the origin again soon after a channel got its first subscriber."""
    connection_subscription_max: int = _key(kinds.integer(0), 20)
    """Channels of one connection."""
    subscription_linger: int = _key(kinds.integer(0), 60)
    """Seconds that response-mode subscriptions outlive their hold."""
    stats_subscription_ttl: int = _key(kinds.integer(0), 60)
    """Seconds that statistics of a subscription live."""
    stats_report_interval: int = _key(kinds.integer(0), 10)
    """Seconds."""
    stats_format: str = _key(kinds.either("json", "tnetstring"), "tnetstring")
    """How statistics are written."""
    prometheus_port: Listen | LocalListen | None = _key(kinds.metrics_port, None)
    """Metrics."""
    prometheus_prefix: str = _key(kinds.metrics_prefix, "")
    """What their names begin with."""


@dataclass(frozen=True, slots=True)
class Tw:
    """``[tw]``: what the original has no key for."""

    log_format: str = _key(kinds.choice("text", "json"), "text")
    """How log files are written."""
    hold_queue: int = _key(kinds.integer(1), 100)
    """Items that may wait for a held client that does not read."""
    write_buffer: int = _key(kinds.integer(1), 65536)
    """Bytes that may wait for a peer before whoever feeds it is paused."""
    head_timeout: float = _key(kinds.seconds, 60.0)
    """For a client to send a request's head."""
    silence_timeout: float = _key(kinds.seconds, 1800.0)
    """Without a byte in either direction."""
    origin_idle_timeout: float = _key(kinds.seconds, 55.0)
    """For a connection to an origin that waits to be used again."""
    delivery_slice: int = _key(kinds.integer(1), 500)
    """Deliveries in one turn of the reactor."""
    publish_backlog: int = _key(kinds.integer(1), 50_000)
    """Items that may wait for delivery; then publishers have to wait."""
    workers: int = _key(kinds.integer(0), 1)
    """Processes that serve clients; 0: one for each core."""
    link_backlog: int = _key(kinds.integer(1), 16_000_000)
    """Bytes that may wait for a worker process that is behind; then publishers have to wait."""
    max_open_requests: int = _key(kinds.integer(-1), -1)
    """Requests that one target is asked at the same time; below 1: unlimited."""
    websocket_lenient: bool = _key(kinds.flag, False)
    """Accept what the original accepts in WebSocket frames though RFC 6455 forbids it."""
    socket_queue: int = _key(kinds.integer(1), 4_000_000)
    """Bytes that may wait for a WebSocket client that does not read."""
    close_timeout: float = _key(kinds.seconds, 120.0)
    """For the peer of a WebSocket to answer CLOSE."""
    zhttp_in_spec: str = _key(kinds.endpoint, "")
    """Where programs send requests to us over ZHTTP: three addresses derived from this one."""
    drain_seconds: float = _key(kinds.some_seconds, 5.0)
    """For clients to end one by one before the process does; 0: all at once."""


_ROOMS = ("connmgr", "condure")
IGNORED = {
    "global": frozenset[str](),
    "runner": frozenset({"mongrel2_bin", "m2sh_bin", "zurl_bin", "condure_bin"}),
    "proxy": frozenset(
        {"updates_check", "organization_name", "m2a_in_specs", "m2a_in_stream_specs", "m2a_out_specs"}
        | {"zurl_out_specs", "zurl_out_stream_specs", "zurl_in_specs"}
        | {"handler_inspect_spec", "handler_accept_spec", "handler_retry_in_spec"}
        | {"handler_ws_control_init_specs", "handler_ws_control_stream_specs"}
        | {"handler_ws_control_in_spec", "handler_ws_control_out_spec"}
        | {"intreq_in_specs", "intreq_in_stream_specs", "intreq_out_specs"}
        | {f"{room}_{kind}_specs" for room in _ROOMS for kind in ("in", "in_stream", "out")}
        | {f"{room}_client_{kind}_specs" for room in _ROOMS for kind in ("out", "out_stream", "in")}
    ),
    "handler": frozenset(
        {f"proxy_{kind}_spec" for kind in ("inspect", "accept", "retry_out", "stats", "command")}
        | {f"proxy_{kind}_specs" for kind in ("inspect", "accept", "retry_out", "stats")}
        | {"proxy_ws_control_init_specs", "proxy_ws_control_stream_specs"}
        | {"proxy_ws_control_in_spec", "proxy_ws_control_out_spec"}
        | {"m2a_in_stream_specs", "m2a_out_specs"}
        | {"proxy_intreq_out_specs", "proxy_intreq_out_stream_specs", "proxy_intreq_in_specs"}
        | {f"{room}_{kind}_specs" for room in _ROOMS for kind in ("in_stream", "out")}
    ),
    "tw": frozenset[str](),
}
"""Keys of the original that name its internal endpoints and helpers: accepted, without effect."""
