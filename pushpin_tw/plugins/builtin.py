"""What comes with pushpin, registered in the way that is open to everybody."""

from __future__ import annotations

from typing import TypeVar

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from pushpin_tw.grip.delivery import RequireSub, SkipSelf, SkipUsers
from pushpin_tw.grip.httpfilters import HttpCheck, HttpModify
from pushpin_tw.grip.substitution import BuildId, VarSubst
from pushpin_tw.origin.targets import DemoTarget, HttpTarget, TestTarget, ZmqTarget
from pushpin_tw.publish.command import ZmqCommand
from pushpin_tw.publish.http import HttpControl
from pushpin_tw.publish.zmq import ZmqPull, ZmqSub

T = TypeVar("T")

http_target = HttpTarget()
test_target = TestTarget()
demo_target = DemoTarget()
zhttp_target = ZmqTarget("zhttp")
zhttpreq_target = ZmqTarget("zhttpreq")

http_control = HttpControl()
zmq_pull = ZmqPull()
zmq_sub = ZmqSub()
zmq_command = ZmqCommand()


def _plugin(one: T) -> T:
    """Filters belong to a pure room and cannot say themselves that they are plugins of Twisted."""
    alsoProvides(one, IPlugin)
    return one


skip_self = _plugin(SkipSelf())
skip_users = _plugin(SkipUsers())
require_sub = _plugin(RequireSub())
var_subst = _plugin(VarSubst())
build_id = _plugin(BuildId())
http_check = _plugin(HttpCheck())
http_modify = _plugin(HttpModify())
