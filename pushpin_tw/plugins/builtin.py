"""What comes with pushpin, registered in the way that is open to everybody."""

from __future__ import annotations

from pushpin_tw.origin.targets import DemoTarget, HttpTarget, TestTarget, ZmqTarget

http_target = HttpTarget()
test_target = TestTarget()
demo_target = DemoTarget()
zhttp_target = ZmqTarget("zhttp")
zhttpreq_target = ZmqTarget("zhttpreq")
