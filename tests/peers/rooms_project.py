"""A Django project in one file: rooms to talk in, WebSockets with django-grip, which knows only HTTP.

Run as ``python rooms_project.py PORT CONTROL_URL``.  What happens is printed, as a line of JSON each.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings

PORT, CONTROL = (sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else ("0", "")
PREFIX = "rooms-"

settings.configure(
    SECRET_KEY="not a secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django_grip.GripMiddleware"],
    GRIP_PROXIES=[{"control_uri": CONTROL, "key": "changeme"}],
    GRIP_PREFIX=PREFIX,
    USE_TZ=True,
)

import django_grip  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from gripcontrol import WebSocketMessageFormat, websocket_control_message  # noqa: E402


def tell(*event: object) -> None:
    """Print what happened."""
    print(json.dumps(event), flush=True)


@django_grip.websocket_only
def room(request: Any, name: str) -> HttpResponse | None:
    """Messages are echoed, unless they begin with a slash; nothing but ``meta`` is remembered."""
    socket = request.wscontext
    if not request.grip.signed:
        return HttpResponse("not signed\n", status=501, content_type="text/plain")
    if name == "closed":
        return HttpResponse("this room is closed\n", status=403, content_type="text/plain")
    if name == "explained":
        return HttpResponse("no! " * 50_000, status=403, content_type="text/plain")
    if socket.is_opening():
        socket.accept()
        socket.subscribe(name)
        socket.meta["room"] = name
        tell("open", socket.id)
    while socket.can_recv():
        try:
            message = socket.recv()
        except OSError:
            tell("lost", socket.id, socket.meta)
            break
        if message is None:
            tell("closed", socket.id, socket.close_code)
            socket.close(socket.close_code or 1000)
            break
        if isinstance(message, bytes):
            socket.send_binary(message)
        elif message.startswith("/"):
            obey(socket, name, *message[1:].split(" "))
        else:
            socket.send(message)
    return None


def obey(socket: Any, name: str, command: str, *arguments: str) -> None:
    """What a client asks for."""
    if command == "say":
        django_grip.publish(name, WebSocketMessageFormat(" ".join(arguments)), blocking=True)
    elif command == "name":
        socket.meta["user"] = arguments[0]
        set_meta = websocket_control_message("set-meta", {"name": "user", "value": arguments[0]})
        socket.send_control(set_meta)
    elif command == "forget":
        del socket.meta["user"]
    elif command == "who":
        socket.send(json.dumps(socket.meta))
    elif command == "leave":
        socket.unsubscribe(name)
    elif command == "quietly":
        filtered = {"channel": PREFIX + name, "filters": ["skip-self"]}
        socket.send_control(websocket_control_message("subscribe", filtered))
    elif command == "detach":
        socket.detach()
    elif command == "later":
        later = {"content": arguments[0], "timeout": 1}
        socket.send_control(websocket_control_message("send-delayed", later))
    elif command == "close":
        socket.close(int(arguments[0]))


urlpatterns = [path("room/<str:name>/", room)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


if __name__ == "__main__":
    make_server("127.0.0.1", int(PORT), get_wsgi_application(), handler_class=Quiet).serve_forever()
