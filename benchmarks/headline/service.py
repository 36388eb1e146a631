"""The headline service: a Django project in one file that shows one short text to everybody.

GET  /               the headline, as {"id": 3, "text": "..."}
GET  /?last_id=3     the headline as soon as its id is not 3: a long-poll
GET  /stream         the headline as a line, then each new one as it comes
POST /               the body is the new headline
GET  /asked          how many requests of each kind were answered, and the processor time that took

Run as ``python -m benchmarks.headline.service PORT CONTROL_URL...``: the proxies' control URLs are where
headlines are published.  Holding clients is their work: this is an ordinary synchronous application with a
few threads.  Stores nothing: it begins with headline 0.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from gripcontrol import GripPubControl, HttpResponseFormat, HttpStreamFormat
from pubcontrol import Item

CHANNEL = "headline"
CONTENT_TYPE = "application/json"
TIMEOUT = 55  # seconds after which a long-poll is answered with what the client has already
LINK_TIMEOUT = 300  # seconds after which a stream that heard nothing is looked after
THREADS = 8


class Headline:
    """The text of the hour, its number, and who is told of a new one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.publishers = GripPubControl()
        self.asked: Counter[str] = Counter()
        self.number = 0
        self.text = "no news"

    def line(self) -> str:
        """The headline as clients get it."""
        return json.dumps({"id": self.number, "text": self.text}) + "\n"

    def set(self, text: str) -> str:
        """Make `text` the headline and publish it; returns its line."""
        with self._lock:
            before = str(self.number)
            self.number, self.text = self.number + 1, text
            line = self.line()
            formats = [
                HttpResponseFormat(headers={"Content-Type": CONTENT_TYPE}, body=line),
                HttpStreamFormat(line),
            ]
            # Each proxy is told by a thread of its own, and nobody waits: what gets lost is seen by prev-id.
            self.publishers.publish(CHANNEL, Item(formats, str(self.number), before))
        return line

    def count(self, kind: str) -> tuple[int, str]:
        """Note a request; returns the headline's number with the line that belongs to it."""
        with self._lock:
            self.asked[kind] += 1
            return self.number, self.line()


headline = Headline()


def last_id(request: HttpRequest) -> str:
    """What the client has: the proxy knows better than the address when it asks again."""
    for part in request.headers.get("Grip-Last", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "last-id":
            return value.strip('"')
    return request.GET.get("last_id", "")


def answer(line: str, **headers: str) -> HttpResponse:
    """A response of one headline, `Grip_Hold="stream"` being a header."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(line, content_type=CONTENT_TYPE, headers=fields)


@csrf_exempt
def index(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return answer(headline.set(request.body.decode(errors="replace").strip()))
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET, POST"})
    number, line = headline.count("poll")
    if last_id(request) != str(number):
        return answer(line)
    return answer(
        line, Grip_Hold="response", Grip_Channel=f"{CHANNEL}; prev-id={number}", Grip_Timeout=str(TIMEOUT)
    )


@require_GET
def stream(request: HttpRequest) -> HttpResponse:
    number, line = headline.count("stream")
    return answer(
        "" if last_id(request) == str(number) else line,
        Grip_Hold="stream",
        Grip_Channel=f"{CHANNEL}; prev-id={number}",
        Grip_Link=f"</stream>; rel=next; timeout={LINK_TIMEOUT}",
    )


@require_GET
def asked(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(json.dumps({**headline.asked, "cpu": time.process_time()}), content_type=CONTENT_TYPE)


urlpatterns = [path("", index), path("stream", stream), path("asked", asked)]

if not settings.configured:
    settings.configure(SECRET_KEY="none", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, LOGGING_CONFIG=None)

application = get_wsgi_application()


def main() -> None:
    """Serve on 127.0.0.1 until ended, with Twisted's WSGI server, which keeps connections open."""
    from twisted.internet import reactor
    from twisted.python.threadpool import ThreadPool
    from twisted.web.server import Site
    from twisted.web.wsgi import WSGIResource

    port, *controls = sys.argv[1:]
    headline.publishers.apply_grip_config([{"control_uri": control} for control in controls])
    threads = ThreadPool(1, THREADS)
    threads.start()
    reactor.addSystemEventTrigger("after", "shutdown", threads.stop)
    reactor.listenTCP(int(port), Site(WSGIResource(reactor, threads, application)), 1024, "127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
