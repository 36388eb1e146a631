"""Where to listen: the texts of ``http_port``, ``https_ports``, ``local_ports`` and ``--port`` (proxy 2.4).

Called by ``config.kinds`` and by the command line.  Never opens a port.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

_SPEC = re.compile(r"(?:(?P<host>[^\[\]:]+|\[[^\[\]]+\]):)?(?P<port>[0-9]{1,5})")
_MODE = re.compile(r"[0-7]{1,4}")
ANY = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP address: an IP literal without brackets, and a port; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LocalListen:
    """A Unix socket; what is None or empty is left as the system makes it."""

    path: str
    mode: int | None = None
    user: str = ""
    group: str = ""

    def __str__(self) -> str:
        return self.path


def parse_listen(text: str) -> Listen:
    """Read ``PORT``, ``IPV4:PORT`` or ``[IPV6]:PORT``.

    The original binds every address when the host is no IP literal, and any port when the port is no number.

    :raises ValueError: it is neither; without a text, because the caller knows what the port is for.
    """
    match = _SPEC.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError
    host = match["host"] or ANY
    bare = host.strip("[]")
    if ipaddress.ip_address(bare).version != (4 if bare == host else 6):
        raise ValueError
    return Listen(bare, int(match["port"]))


def parse_local_listen(text: str) -> LocalListen:
    """Read ``PATH[?mode=OCTAL&user=NAME&group=NAME]``; other parameters are ignored.

    :raises ValueError: no path, or a mode that is not octal.
    """
    path, _, query = text.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    mode = parameters.get("mode", "")
    if not path or "\0" in path or (mode and not _MODE.fullmatch(mode)):
        raise ValueError
    return LocalListen(
        path, int(mode, 8) if mode else None, parameters.get("user", ""), parameters.get("group", "")
    )
