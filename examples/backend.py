"""A backend of the standard library alone: /news is held as a stream, /next as a long-poll."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/news":
            self.answer(b"welcome\n", {"Grip-Hold": "stream", "Grip-Channel": "news"})
        elif self.path == "/next":
            self.answer(b"no news\n", {"Grip-Hold": "response", "Grip-Channel": "news", "Grip-Timeout": "20"})
        else:
            self.answer(b"try /news or /next\n", {})

    def answer(self, body, instructions):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in instructions.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8000), Backend).serve_forever()
