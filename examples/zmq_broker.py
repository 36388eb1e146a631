"""A broker between publishers and proxies: neither has to know how many there are of the other.

Publishers connect to the first address and proxies to the second.  Subscriptions pass one way and items the
other, so that a publisher sends only what somebody listens to.  Needs pyzmq.
"""

import sys

import zmq


def serve(for_publishers, for_proxies):
    context = zmq.Context()
    publishers, proxies = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    proxies.sndhwm = 100_000  # items that may wait for one proxy; more are dropped
    publishers.bind(for_publishers)
    proxies.bind(for_proxies)
    zmq.proxy(publishers, proxies)


if __name__ == "__main__":
    serve(*(sys.argv[1:] or ["tcp://*:5570", "tcp://*:5571"]))
