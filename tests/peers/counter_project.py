"""A Django project in one file: a counter that is polled and incremented, with django-grip.

Run as ``python counter_project.py PORT CONTROL_URL``.
"""

from __future__ import annotations

import sys
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings

PORT, CONTROL = (sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else ("0", "")

settings.configure(
    SECRET_KEY="not a secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django_grip.GripMiddleware"],
    GRIP_PROXIES=[{"control_uri": CONTROL, "key": "changeme"}],
    USE_TZ=True,
)

import django_grip  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed  # noqa: E402
from django.urls import path  # noqa: E402
from gripcontrol import HttpResponseFormat  # noqa: E402

_lock = threading.Lock()
_counts: dict[str, int] = {}


def counter(request: Any, name: str) -> HttpResponse:
    """GET waits while ``last`` equals the value; POST increments and publishes."""
    if not request.grip.signed:
        return HttpResponse("not signed\n", status=501, content_type="text/plain")
    with _lock:
        value = _counts.get(name, 0)
        if request.method == "POST":
            value = _counts[name] = value + 1
    if request.method == "GET":
        if request.GET.get("last") == str(value):
            django_grip.set_hold_longpoll(request, f"counter-{name}", timeout=20)
        return HttpResponse(f"{value}\n", content_type="text/plain")
    if request.method == "POST":
        body = HttpResponseFormat(headers={"Content-Type": "text/plain"}, body=f"{value}\n")
        django_grip.publish(f"counter-{name}", body, blocking=True)
        return HttpResponse(f"{value}\n", content_type="text/plain")
    return HttpResponseNotAllowed(["GET", "POST"])


def health(request: HttpRequest) -> HttpResponse:
    return HttpResponse("up\n", content_type="text/plain")


urlpatterns = [path("counter/<str:name>/", counter), path("health/", health)]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


if __name__ == "__main__":
    make_server("127.0.0.1", int(PORT), get_wsgi_application(), handler_class=Quiet).serve_forever()
