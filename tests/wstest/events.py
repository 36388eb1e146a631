"""An echo server of WebSocket-over-HTTP with gripcontrol's own reading and writing of events.

Run as ``python events.py PORT``; see ``tests/wstest/__main__.py``.  Knows nothing of the proxy.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gripcontrol import WebSocketEvent, decode_websocket_events, encode_websocket_events

TYPE = "application/websocket-events"
ANSWERS = {"OPEN": "OPEN", "TEXT": "TEXT", "BINARY": "BINARY", "PING": "PONG", "CLOSE": "CLOSE"}


class Echo(BaseHTTPRequestHandler):
    """Answers events with events: messages come back, pings become pongs, CLOSE is agreed to."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answers = [
            WebSocketEvent(ANSWERS[event.type], event.content)
            for event in decode_websocket_events(body)
            if event.type in ANSWERS
        ]
        content = encode_websocket_events(answers)
        self.send_response(200)
        self.send_header("Content-Type", TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 500


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
