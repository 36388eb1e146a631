"""A backend that only knows HTTP. It has WebSockets all the same: the proxy turns them into requests."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gripcontrol import WebSocketEvent, decode_websocket_events, encode_websocket_events


def answers(event):
    """What there is to say to an event of the client."""
    if event.type == "OPEN":
        subscribe = 'c:{"type": "subscribe", "channel": "room"}'
        return [event, WebSocketEvent("TEXT", subscribe), WebSocketEvent("TEXT", "m:welcome")]
    if event.type == "TEXT":
        return [WebSocketEvent("TEXT", b"m:you said: " + (event.content or b""))]
    if event.type == "PING":
        return [WebSocketEvent("PONG", event.content)]
    return [event] if event.type == "CLOSE" else []


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"]))
        events = [answer for event in decode_websocket_events(said) for answer in answers(event)]
        body = encode_websocket_events(events)
        self.send_response(200)
        self.send_header("Content-Type", "application/websocket-events")
        self.send_header("Sec-WebSocket-Extensions", "grip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8000), Backend).serve_forever()
