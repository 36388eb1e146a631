"""Makes ``twistd pushpin -c pushpin.conf`` work."""

from twisted.application.service import ServiceMaker

pushpin = ServiceMaker(
    "pushpin", "pushpin_tw.tap", "Pushpin: a reverse proxy for realtime web services", "pushpin"
)
