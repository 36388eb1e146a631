"""What each worker gets of the limits that are meant for all together.

Called where workers are made.  Pure: a configuration goes in, another comes out.
"""

from __future__ import annotations

import os
from dataclasses import replace

from pushpin_tw.config import Config


def worker_count(config: Config) -> int:
    """How many processes shall serve clients; 0 in the configuration is one for each core."""
    if config.tw.workers:
        return config.tw.workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(config: Config, count: int) -> Config:
    """The configuration of one of ``count`` workers."""
    return replace(
        config,
        runner=replace(config.runner, client_maxconn=_part(config.runner.client_maxconn, count)),
        proxy=replace(config.proxy, max_open_requests=_part(config.proxy.max_open_requests, count)),
        handler=replace(
            config.handler,
            message_rate=_part(config.handler.message_rate, count),
            message_hwm=_part(config.handler.message_hwm, count),
            message_wait=0,  # the parent has put items in order
            id_cache_ttl=0,
        ),
        tw=replace(config.tw, workers=count, max_open_requests=_part(config.tw.max_open_requests, count)),
    )


def _part(limit: int, count: int) -> int:
    """At least 1; what is unlimited stays so."""
    return limit if limit < 1 else -(-limit // count)
