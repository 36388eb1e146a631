"""Who listens to what: keeps the table of subscriptions that Pushpin tells of, and prints each change.

Needs pyzmq, and ``stats_format=json`` in the configuration.
"""

import json
import sys
import time

import zmq


def watch(address):
    socket = zmq.Context().socket(zmq.SUB)
    socket.subscribe("sub ")
    socket.connect(address)
    table = {}  # by mode and channel: how many, and until when that is good
    while True:
        if socket.poll(1000):
            packet = json.loads(socket.recv()[len("sub J") :])
            key = packet["mode"], packet["channel"]
            if packet.get("unavailable"):
                if table.pop(key, None):
                    print(*key, "nobody", flush=True)
            else:
                number, before = packet["subscribers"], table.get(key)
                table[key] = number, time.monotonic() + packet["ttl"]
                if before is None or before[0] != number:
                    print(*key, number, flush=True)
        for key in [key for key, (_, limit) in table.items() if limit < time.monotonic()]:
            del table[key]
            print(*key, "not heard of any more", flush=True)


if __name__ == "__main__":
    watch(sys.argv[1] if len(sys.argv) > 1 else "ipc://run/pushpin-stats")
