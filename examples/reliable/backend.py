"""A backend whose streams and long-polls lose nothing, of the standard library alone.

GET  /stream/CHANNEL?after=ID   all items after ID as server-sent events, then each new one as it comes
GET  /poll/CHANNEL?after=ID     a JSON list of the items after ID; waits until there is one
POST /items/CHANNEL             the body is a new item's text
"""

import argparse
import json
import re
import sqlite3
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Store:
    """Items, numbered 1, 2, 3... in each channel. Whatever was stored survives a restart."""

    def __init__(self, path):
        self.path = path
        with closing(self.connect()) as db, db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS items (channel, id, text, PRIMARY KEY (channel, id))")

    def connect(self):
        return sqlite3.connect(self.path, timeout=10)

    def add(self, channel, text):
        """Store an item; returns its id."""
        new = "SELECT ?1, COALESCE(MAX(id), 0) + 1, ?2 FROM items WHERE channel = ?1"
        with closing(self.connect()) as db, db:
            [(number,)] = db.execute(f"INSERT INTO items {new} RETURNING id", (channel, text)).fetchall()
        return number

    def after(self, channel, last, limit):
        """The items that come after the one with the id ``last``, as (id, text); the first of them."""
        query = "SELECT id, text FROM items WHERE channel = ? AND id > ? ORDER BY id LIMIT ?"
        with closing(self.connect()) as db:
            return db.execute(query, (channel, last, limit)).fetchall()


def events(items):
    """Items as a stream shows them. What is cut off before its empty line does not count."""
    return "".join(
        f"id: {number}\n" + "".join(f"data: {line}\n" for line in text.splitlines() or [""]) + "\n"
        for number, text in items
    )


def listed(items):
    """Items as a long-poll shows them."""
    return json.dumps([{"id": number, "text": text} for number, text in items]) + "\n"


def message(channel, number, text):
    """An item as the proxy wants it: its id, and the id of the one before it."""
    item = [(number, text)]
    return {
        "channel": channel,
        "id": str(number),
        "prev-id": str(number - 1),
        "formats": {
            "http-stream": {"content": events(item)},
            "http-response": {"headers": {"Content-Type": "application/json"}, "body": listed(item)},
        },
    }


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    store = None
    control = ""  # where the proxy takes items
    page = 100  # items in one answer
    patience = 120  # seconds after which a client that heard nothing asks again

    def do_GET(self):
        kind, channel = self.place()
        try:
            last = self.last_id(channel)
        except ValueError:
            self.answer(400, "ids are numbers\n")
            return
        items = self.store.after(channel, last, self.page) if channel else []
        if channel and kind == "stream":
            self.stream(channel, items, items[-1][0] if items else last)
        elif channel and kind == "poll":
            self.poll(channel, items, last)
        else:
            self.answer(404, "try /stream/news or /poll/news\n")

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")
        kind, channel = self.place()
        if not channel or kind != "items":
            self.answer(404, "try /items/news\n")
            return
        number = self.store.add(channel, text)
        self.publish(message(channel, number, text))
        self.answer(201, f"{number}\n")

    def place(self):
        """What the path says: (kind, channel)."""
        match = re.fullmatch(r"/(stream|poll|items)/([\w-]+)", urlsplit(self.path).path, re.ASCII)
        return match.groups() if match else ("", "")

    def last_id(self, channel):
        """The last item that the client has, as far as anybody knows: the proxy and browsers say how far
        items have brought it, the address how far pages have."""
        told = parse_qs(urlsplit(self.path).query).get("after", [])
        told += self.headers.get_all("Last-Event-ID", [])
        for position in self.headers.get_all("Grip-Last", []):
            name, _, last = position.partition("; last-id=")
            if name == channel:
                self.log_message("recovering what follows %s", last)
                told.append(last)
        return max(map(int, told), default=0)

    def stream(self, channel, items, last):
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        link = f"/stream/{channel}"
        if len(items) < self.page:
            headers["Grip-Hold"] = "stream"
            headers["Grip-Channel"] = f"{channel}; prev-id={last}"
            headers["Grip-Keep-Alive"] = r":\n\n; format=cstring; timeout=30"
        else:  # without a hold, the proxy fetches the next page at once
            link += f"?after={last}"
        headers["Grip-Link"] = f"<{link}>; rel=next; timeout={self.patience}"
        self.answer(200, events(items), headers)

    def poll(self, channel, items, last):
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if not items:
            headers["Grip-Hold"] = "response"
            headers["Grip-Channel"] = f"{channel}; prev-id={last}"
            headers["Grip-Timeout"] = str(self.patience)
        self.answer(200, listed(items), headers)

    def publish(self, item):
        body = json.dumps({"items": [item]}).encode()
        try:
            urllib.request.urlopen(self.control, body, timeout=10).close()
        except OSError as error:  # it is in the store: clients get it with the next one, or when they ask
            self.log_error("not published: %s", error)

    def answer(self, status, text, headers=None):
        body = text.encode()
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "text/plain"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 1024  # many clients may ask at once


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--store", default="items.db")
    parser.add_argument("--control", default="http://localhost:5561/publish")
    parser.add_argument("--page", type=int, default=Backend.page)
    parser.add_argument("--patience", type=int, default=Backend.patience)
    options = parser.parse_args()
    Backend.store = Store(options.store)
    Backend.control = options.control
    Backend.page, Backend.patience = options.page, options.patience
    Server(("127.0.0.1", options.port), Backend).serve_forever()


if __name__ == "__main__":
    main()
