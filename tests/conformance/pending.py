"""Cases that wait for parts of the service, and what each of them waits for.

``test_complete`` checks that every case of the covered sections is either tested or named here.
"""

from __future__ import annotations

PENDING: dict[int, str] = {}
"""Case number of the GRIP specification to the reason."""

PROXY_PENDING: dict[int, str] = {}
"""Case number of the proxy specification to the reason."""

SOCKET_PENDING: dict[int, str] = {}
"""Case number of the WebSocket specification to the reason."""

ZEROMQ_PENDING: dict[int, str] = {}
"""Case number of the ZeroMQ specification to the reason."""
