"""The example of ``ITargetType``, as it stands in its docstring, is a target type that passes the suites."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import implementer

from pushpin_tw.errors import RouteSyntaxError
from pushpin_tw.extensions import ITargetType
from pushpin_tw.origin.answering import Answer, AnsweringOrigin
from pushpin_tw.routing.route import Target
from pushpin_tw.testing.origins import OriginContract, TargetTypeContract
from pushpin_tw.testing.services import LentServices


def example() -> Any:
    """What the example makes."""
    _, _, behind = inspect.cleandoc(ITargetType.__doc__).partition("::\n\n")
    code, _, _ = behind.partition("\n\n``origin.answering``")
    names: dict[str, Any] = {
        "Answer": Answer,
        "AnsweringOrigin": AnsweringOrigin,
        "IPlugin": IPlugin,
        "ITargetType": ITargetType,
        "RouteSyntaxError": RouteSyntaxError,
        "implementer": implementer,
    }
    exec(textwrap.dedent(code), names)
    return names["fixed_target"]


class TestExample(OriginContract, TargetTypeContract):
    target_type = example()
    good_addresses: ClassVar = {"some words": "some words"}
    bad_addresses = ("",)

    def make_origin(self, services: LentServices) -> Any:
        return self.target_type.origin(Target(kind="fixed", address="some words"), services)
