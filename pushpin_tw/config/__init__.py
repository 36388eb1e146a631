"""The configuration: the text of pushpin.conf as frozen values (proxy 2).

``parse_config`` makes a ``Config``; the rest are the types of its values.  Pure: reads no file.
"""

from __future__ import annotations

from pushpin_tw.config.listen import Listen, LocalListen, parse_listen
from pushpin_tw.config.loglevel import LogLevels, parse_log_levels
from pushpin_tw.config.reading import Config, check_config, parse_config
from pushpin_tw.config.sections import Global, Handler, Proxy, Runner, Tw

__all__ = [
    "Config",
    "Global",
    "Handler",
    "Listen",
    "LocalListen",
    "LogLevels",
    "Proxy",
    "Runner",
    "Tw",
    "check_config",
    "parse_config",
    "parse_listen",
    "parse_log_levels",
]
