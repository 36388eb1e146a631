"""What a changed configuration changes while the process runs (SIGHUP).

Called by ``process``, and by worker processes for their own service.  Keys that are not named here are read
at the start only: what they stand for is open, or was handed to clients who are still there.  Never reads a
file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from pushpin_tw.config import Config

Key = tuple[str, str]
"""Section and name."""

SECTIONS = {"global": "global_", "runner": "runner", "proxy": "proxy", "handler": "handler", "tw": "tw"}
"""Names of sections, and of what they are in a ``Config``."""


def _keys(section: str, *names: str) -> frozenset[Key]:
    return frozenset((section, name) for name in names)


LOGS = _keys("runner", "log_level") | _keys("proxy", "log_from", "log_user_agent")
ROUTES = _keys("proxy", "routesfile", "sig_iss", "sig_key")
REQUESTS = _keys(
    "proxy",
    "debug",
    "auto_cross_origin",
    "accept_x_forwarded_protocol",
    "accept_pushpin_route",
    "upstream_key",
    "set_x_forwarded_protocol",
    "x_forwarded_for",
    "x_forwarded_for_trusted",
    "orig_headers_need_mark",
    "cdn_loop",
)
DELIVERY = _keys("handler", "message_rate", "message_hwm", "message_block_size") | _keys(
    "tw", "delivery_slice", "publish_backlog"
)
HOLDS = _keys("handler", "connection_subscription_max") | _keys("tw", "hold_queue")
CLIENTS = _keys("runner", "client_maxconn") | _keys("tw", "head_timeout", "silence_timeout", "socket_queue")
ENDING = _keys("tw", "drain_seconds")
CHANGEABLE = LOGS | ROUTES | REQUESTS | DELIVERY | HOLDS | CLIENTS | ENDING


def changes(old: Config, new: Config) -> list[Key]:
    """The keys whose values differ, in the order of the sections."""
    found = []
    for section, attribute in SECTIONS.items():
        before, after = getattr(old, attribute), getattr(new, attribute)
        found += [
            (section, field.name)
            for field in fields(before)
            if getattr(before, field.name) != getattr(after, field.name)
        ]
    return found


def merged(old: Config, new: Config) -> Config:
    """``old``, with what can be changed as it is in ``new``."""
    values: dict[str, dict[str, Any]] = {}
    for section, name in CHANGEABLE:
        attribute = SECTIONS[section]
        values.setdefault(attribute, {})[name] = getattr(getattr(new, attribute), name)
    sections = {attribute: replace(getattr(old, attribute), **given) for attribute, given in values.items()}
    return replace(old, **sections)


def apply(service: Any, config: Config) -> None:
    """Let a ``service.PushpinService`` go on as ``config`` says, which is ``merged``."""
    changed = set(changes(service.config, config))
    service.config = service.lent.config = config
    steps: dict[frozenset[Key], Callable[[Config], object]] = {
        LOGS: service.lent.stats.configure,
        ROUTES: service.routes.configure,
        REQUESTS: service.configure_requests,
        DELIVERY: service.configure_delivery,
        HOLDS: service.configure_holds,
        CLIENTS: service.listeners.configure,
    }
    for keys, step in steps.items():
        if keys & changed:
            step(config)
