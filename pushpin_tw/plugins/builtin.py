"""What comes with pushpin, registered in the way that is open to everybody."""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from pushpin_tw.grip.delivery import RequireSub, SkipSelf, SkipUsers
from pushpin_tw.grip.httpfilters import HttpCheck, HttpModify
from pushpin_tw.grip.substitution import BuildId, VarSubst
from pushpin_tw.origin.targets import DemoTarget, HttpTarget, TestTarget, ZmqTarget
from pushpin_tw.publish.http import HttpControl

http_target = HttpTarget()
test_target = TestTarget()
demo_target = DemoTarget()
zhttp_target = ZmqTarget("zhttp")
zhttpreq_target = ZmqTarget("zhttpreq")

http_control = HttpControl()

skip_self = SkipSelf()
skip_users = SkipUsers()
require_sub = RequireSub()
var_subst = VarSubst()
build_id = BuildId()
http_check = HttpCheck()
http_modify = HttpModify()

# Filters belong to a pure room and cannot say themselves that they are plugins of Twisted.
for _filter in (skip_self, skip_users, require_sub, var_subst, build_id, http_check, http_modify):
    alsoProvides(_filter, IPlugin)
