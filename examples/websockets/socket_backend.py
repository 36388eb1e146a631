"""A backend that speaks WebSocket, and leaves to the proxy who hears what is published."""

from websockets.sync.server import serve


def agree(connection, request, response):
    """Behind a proxy that offers GRIP, take it."""
    offers = ",".join(request.headers.get_all("Sec-WebSocket-Extensions"))
    if "grip" in (offer.strip() for offer in offers.split(",")):
        response.headers["Sec-WebSocket-Extensions"] = "grip"


def talk(client):
    client.send('c:{"type": "subscribe", "channel": "room"}')
    client.send("m:welcome")
    for said in client:
        client.send(f"m:you said: {said}")


if __name__ == "__main__":
    with serve(talk, "127.0.0.1", 8000, process_response=agree, compression=None) as server:
        server.serve_forever()
