"""A WebSocket server with the ``websockets`` library, as a process behind the proxy.

Run as ``python echo_and_more.py PORT [compress]``.  What happens is printed, a line of JSON each.  Its paths:
/echo; /fragments/N: a message in N frames; /ping: pings, and says when it was answered; /close/CODE/REASON:
closes; /listen: says nothing; /reject/STATUS/SIZE: no WebSocket but an answer with so long a body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import unquote

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

NO_LIMIT = None


def tell(*event: object) -> None:
    """Print what happened."""
    print(json.dumps(event), flush=True)


def words(path: str) -> list[str]:
    """Of a path, without the empty one at its beginning."""
    return [unquote(word) for word in path.split("/")[1:]]


def reject(connection: ServerConnection, request: Request) -> Response | None:
    """An answer instead of a WebSocket."""
    word, *more = words(request.path)
    if word != "reject":
        return None
    status, body = HTTPStatus(int(more[0])), b"no" * (int(more[1]) // 2)
    headers = Headers({"Content-Type": "text/x-no", "Content-Length": str(len(body)), "X-Why": "because"})
    return Response(status, status.phrase, headers, body)


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The last one that was offered: nobody would have got it by accident."""
    return offered[-1] if offered else None


async def talk(connection: ServerConnection) -> None:
    """What the path asks for, until the other side closes."""
    assert connection.request is not None
    word, *more = words(connection.request.path)
    extensions = [extension.name for extension in connection.protocol.extensions]
    tell("open", word, connection.subprotocol, extensions)
    with contextlib.suppress(ConnectionClosed):
        if word == "echo":
            async for message in connection:
                await connection.send(message)
        elif word == "fragments":
            await connection.send([f"{number};" for number in range(int(more[0]))])
        elif word == "ping":
            await (await connection.ping("are you there?"))
            tell("pong")
            await connection.send("pong has come")
        elif word == "close":
            await connection.close(int(more[0]), more[1])
    await connection.wait_closed()
    tell("closed", connection.close_code, connection.close_reason)


async def main() -> None:
    server = await serve(
        talk,
        "127.0.0.1",
        int(sys.argv[1]),
        compression="deflate" if "compress" in sys.argv[2:] else None,
        process_request=reject,
        select_subprotocol=choose,
        max_size=NO_LIMIT,
        ping_interval=None,
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
