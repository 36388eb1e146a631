"""How much each service says: ``log_level`` of the configuration and ``--loglevel`` (proxy 3.1, 8.11).

Called by ``config.sections`` and by the command line; read by ``stats``.  Decides nothing but the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ERROR, WARN, INFO, DEBUG = range(4)
SERVICES = ("connmgr", "proxy", "handler", "runner")
_SYNONYMS = {"condure": "connmgr", "pushpin-proxy": "proxy", "pushpin-handler": "handler"}
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class LogLevels:
    """A level for everybody, and levels for some services."""

    default: int = INFO
    services: tuple[tuple[str, int], ...] = ()

    def of(self, service: str) -> int:
        """What ``service`` may say: 0 errors, 1 warnings, 2 information, 3 debug."""
        return dict(self.services).get(service, self.default)


def parse_log_levels(components: Iterable[str]) -> LogLevels:
    """Read ``N`` and ``SERVICE:N``; of several for the same service the last one counts.

    :raises ValueError: with the text of proxy 3.1.
    """
    default, services = INFO, {}
    for component in components:
        component = component.strip()
        if not component:
            raise ValueError("log level component cannot be empty")
        service, colon, number = component.rpartition(":")
        if colon and not service:
            raise ValueError("log level component name cannot be empty")
        if not _NUMBER.fullmatch(number):
            whose = f" for service {service}" if colon else ""
            raise ValueError(f"log level{whose} must be greater than or equal to 0")
        if colon:
            services[_SYNONYMS.get(service, service)] = int(number)
        else:
            default = int(number)
    return LogLevels(default, tuple(sorted(services.items())))
