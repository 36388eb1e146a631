"""Cases that wait for parts of the service, and what each of them waits for.

``test_complete`` checks that every case of the covered sections is either tested or named here.
"""

from __future__ import annotations

CROSS_ORIGIN = "needs the CORS and JSON-P treatment of held responses"
WEBSOCKET = "needs WebSocket"

PENDING: dict[int, str] = {
    30: CROSS_ORIGIN,
    31: CROSS_ORIGIN,
    32: CROSS_ORIGIN,
    60: CROSS_ORIGIN,
    150: WEBSOCKET,
    154: WEBSOCKET,
    199: WEBSOCKET,
    200: WEBSOCKET,
    201: WEBSOCKET,
    202: WEBSOCKET,
    203: WEBSOCKET,
}
"""Case number of the GRIP specification to the reason."""

JSONP = "needs JSON-P"

PROXY_PENDING: dict[int, str] = {
    187: WEBSOCKET,
    188: WEBSOCKET,
    189: WEBSOCKET,
    190: WEBSOCKET,
    191: WEBSOCKET,
    192: WEBSOCKET,
    193: WEBSOCKET,
    194: WEBSOCKET,
    196: WEBSOCKET,
    197: WEBSOCKET,
    200: "needs SockJS",
    207: WEBSOCKET,
    210: "needs CORS headers on relayed responses",
    227: JSONP,
    231: JSONP,
}
"""Case number of the proxy specification to the reason."""
