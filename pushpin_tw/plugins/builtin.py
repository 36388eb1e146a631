"""What comes with pushpin, registered in the way that is open to everybody."""

from __future__ import annotations

from pushpin_tw.origin.targets import DemoTarget, HttpTarget, TestTarget, ZmqTarget
from pushpin_tw.publish.http import HttpControl

http_target = HttpTarget()
test_target = TestTarget()
demo_target = DemoTarget()
zhttp_target = ZmqTarget("zhttp")
zhttpreq_target = ZmqTarget("zhttpreq")

http_control = HttpControl()
