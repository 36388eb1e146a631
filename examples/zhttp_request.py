"""A client without HTTP: sends a request to the proxy over ZeroMQ, and prints what comes back as it comes.

    python3 examples/zhttp_request.py http://localhost:7999/ tcp://127.0.0.1:10100

The proxy must have ``zhttp_in_spec=tcp://127.0.0.1:10100`` in ``[tw]``.  Needs pyzmq and tnetstring3.
"""

import sys
import uuid

import tnetstring
import zmq

WINDOW = 100_000


class Asking:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.name = b"asking-%s" % uuid.uuid4().hex.encode()
        context = zmq.Context()
        sockets = [context.socket(kind) for kind in (zmq.PUSH, zmq.DEALER)]
        self.requests, self.packets = sockets
        self.packets.identity = self.name  # so that answers find us
        for offset, socket in enumerate(sockets):
            socket.connect(f"{host}:{int(port) + offset}")
        # An answer that leaves before the proxy knows us would be lost.
        self.packets.send(b"probe")
        self.packets.recv_multipart()

    def ask(self, uri):
        """The parts of the answer."""
        packet = {b"method": b"GET", b"uri": uri.encode(), b"headers": [], b"stream": True}
        packet[b"credits"] = WINDOW
        packet[b"router-resp"] = True  # else answers would come to a SUB socket
        self.requests.send(self.packet(0, packet))
        count = 1
        while True:
            _, answer = self.packets.recv_multipart()
            answer = tnetstring.loads(answer[1:])
            yield answer
            if b"type" not in answer and b"more" not in answer:
                return
            if answer.get(b"type") in (b"error", b"cancel"):
                return
            if answer.get(b"body"):
                thanks = {b"type": b"credit", b"credits": len(answer[b"body"])}
            elif answer.get(b"type") == b"keep-alive":  # the proxy lives, and so do we
                thanks = {b"type": b"keep-alive"}
            else:
                continue
            self.packets.send_multipart([b"", self.packet(count, thanks)])
            count += 1

    def packet(self, seq, fields):
        return b"T" + tnetstring.dumps({b"from": self.name, b"id": b"1", b"seq": seq, **fields})


if __name__ == "__main__":
    for part in Asking(sys.argv[2]).ask(sys.argv[1]):
        if b"code" in part:
            print(part[b"code"], part[b"reason"].decode(), file=sys.stderr)
        elif part.get(b"type") in (b"error", b"cancel"):
            sys.exit(f"no answer: {part.get(b'condition', b'cancelled').decode()}")
        sys.stdout.buffer.write(part.get(b"body", b""))
        sys.stdout.buffer.flush()
