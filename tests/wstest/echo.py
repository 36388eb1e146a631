"""An echo server of WebSockets by autobahn: the backend that the suite meets through the proxy.

Run as ``python echo.py PORT [compress]``; see ``tests/wstest/setups.py``.  Knows nothing of the proxy.
"""

from __future__ import annotations

import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet import reactor


class Echo(WebSocketServerProtocol):
    """Sends every message back, answers every ping, agrees to every CLOSE."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N803
        self.sendMessage(payload, isBinary)


def accept(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
    """The first offer of permessage-deflate."""
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(offer)
    return None


def main() -> None:
    port, options = int(sys.argv[1]), sys.argv[2:]
    factory = WebSocketServerFactory()
    factory.protocol = Echo
    # Say CLOSE to an offender, as the proxy does, so that the suite judges both by the same rule.
    factory.setProtocolOptions(failByDrop=False)
    if "compress" in options:
        factory.setProtocolOptions(perMessageCompressionAccept=accept)
    reactor.listenTCP(port, factory, backlog=500, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
