"""A backend without a web server: it connects to Pushpin, and asks that each client be held as a stream.

Route requests to it with ``* zhttpreq/tcp://127.0.0.1:10000``.  Needs pyzmq and tnetstring3.
"""

import sys

import tnetstring
import zmq


def answer(request):
    """What a web framework would do: a request in, a response out."""
    if request[b"method"] != b"GET":
        return {b"code": 405, b"reason": b"Method Not Allowed", b"body": b"only GET\n"}
    return {
        b"code": 200,
        b"reason": b"OK",
        b"headers": [
            [b"Content-Type", b"text/plain"],
            [b"Grip-Hold", b"stream"],
            [b"Grip-Channel", b"news"],
        ],
        b"body": b"welcome\n",
    }


def serve(address):
    worker = zmq.Context().socket(zmq.REP)
    worker.connect(address)
    while True:
        request = tnetstring.loads(worker.recv()[1:])  # behind a T
        response = {b"id": request[b"id"], **answer(request)}
        worker.send(b"T" + tnetstring.dumps(response))


if __name__ == "__main__":
    serve(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:10000")
