"""A backend that streams: the time, each second, to every client for as long as it stays.

Route requests to it with ``* zhttp/tcp://127.0.0.1:10000``.  Needs pyzmq and tnetstring3.
"""

import os
import sys
import time

import tnetstring
import zmq

NAME = b"clock-%d" % os.getpid()
HEAD = {b"code": 200, b"reason": b"OK", b"headers": [[b"Content-Type", b"text/plain"]]}


class Clock:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        context = zmq.Context()
        sockets = [context.socket(kind) for kind in (zmq.PULL, zmq.ROUTER, zmq.PUB)]
        self.requests, self.packets, self.answers = sockets
        self.packets.identity = NAME  # so that packets find us
        for offset, socket in enumerate(sockets):
            socket.connect(f"{host}:{int(port) + offset}")
        self.sessions = {}

    def say(self, session, fields):
        packet = {b"from": NAME, b"id": session[b"id"], b"seq": session[b"count"], **fields}
        self.answers.send(session[b"from"] + b" T" + tnetstring.dumps(packet))
        session[b"count"] += 1

    def begin(self, request):
        self.sessions[request[b"id"]] = session = {**request, b"count": 0}
        self.say(session, {**HEAD, b"more": True})

    def told(self, packet):
        session = self.sessions.get(packet[b"id"])
        if packet.get(b"type") == b"cancel":  # the client has gone
            self.sessions.pop(packet[b"id"], None)
        elif session and packet.get(b"type") == b"credit":  # it has read so many bytes
            session[b"credits"] += packet[b"credits"]

    def tick(self):
        line = time.strftime("%H:%M:%S\n").encode()
        for session in self.sessions.values():
            if session[b"credits"] >= len(line):  # else it is slow, and misses some
                session[b"credits"] -= len(line)
                self.say(session, {b"body": line, b"more": True})

    def run(self):
        due = time.monotonic()
        while True:
            if self.requests.poll(100):
                self.begin(tnetstring.loads(self.requests.recv()[1:]))
            while self.packets.poll(0):
                self.told(tnetstring.loads(self.packets.recv_multipart()[2][1:]))
            if time.monotonic() >= due:
                due += 1
                self.tick()


if __name__ == "__main__":
    Clock(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:10000").run()
