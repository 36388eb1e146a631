"""Every implementer keeps the contract of its interface: attributes, methods, arguments."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyClass, verifyObject

from pushpin_tw import extensions, figures, interfaces, sockets
from pushpin_tw.broker.broker import Broker
from pushpin_tw.edge.body import RequestBody
from pushpin_tw.edge.responder import Responder
from pushpin_tw.edge.sockjsanswer import Carrier
from pushpin_tw.edge.sockjsframed import FramedSocket
from pushpin_tw.edge.sockjssession import Session
from pushpin_tw.edge.zhttpbody import AskedBody
from pushpin_tw.edge.zhttprequest import AskedRequest
from pushpin_tw.edge.zhttpsocket import AskedSocket, AskedTalk
from pushpin_tw.hold.linked import LinkedStreamHold
from pushpin_tw.hold.response import ResponseHold
from pushpin_tw.hold.stream import StreamHold
from pushpin_tw.inlet import Inlet
from pushpin_tw.origin.call import HttpCall
from pushpin_tw.origin.http import HttpOrigin
from pushpin_tw.origin.zhttpsocket import WorkerTalk
from pushpin_tw.proxy.connections import Connections
from pushpin_tw.proxy.exchange import Exchange
from pushpin_tw.proxy.fetching import Fetch, LinkCall
from pushpin_tw.proxy.gateway import Gateway
from pushpin_tw.proxy.refetch import Refetch
from pushpin_tw.proxy.sharing import Member
from pushpin_tw.proxy.tunnel import ClientEnd
from pushpin_tw.publish.zmq import SubInput
from pushpin_tw.routing.table import RouteTable
from pushpin_tw.service import message_filters, publish_sources, target_types
from pushpin_tw.stats.journal import Journal
from pushpin_tw.upgrade import Successor

KEPT = [
    (interfaces.IGateway, Gateway),
    (interfaces.IRefetch, Gateway),
    (interfaces.IBody, RequestBody),
    (interfaces.IBody, AskedBody),
    (interfaces.IBodySink, Exchange),
    (interfaces.IOriginSink, Exchange),
    (interfaces.IOriginSink, Fetch),
    (interfaces.ILinks, Refetch),
    (interfaces.ILinkCall, LinkCall),
    (interfaces.IResponderOwner, Member),
    (interfaces.IResponderOwner, Exchange),
    (interfaces.IResponderOwner, StreamHold),
    (interfaces.IResponderOwner, ResponseHold),
    (interfaces.IParting, StreamHold),
    (interfaces.IParting, ResponseHold),
    (interfaces.IParting, LinkedStreamHold),
    (interfaces.IParting, ClientEnd),
    (interfaces.IParting, Carrier),
    (interfaces.IParting, FramedSocket),
    (interfaces.IItems, Inlet),
    (interfaces.IChannelWatcher, Successor),
    (interfaces.IResponder, Responder),
    (interfaces.IResponder, AskedRequest),
    (interfaces.IResponder, AskedSocket),
    (interfaces.IRouter, RouteTable),
    (interfaces.IOrigin, HttpOrigin),
    (interfaces.IOriginCall, HttpCall),
    (interfaces.IHold, StreamHold),
    (interfaces.IHold, ResponseHold),
    (interfaces.IBroker, Broker),
    (interfaces.IChannelWatcher, SubInput),
    (figures.IStatsSink, Journal),
    (interfaces.IResponderOwner, Carrier),
    (extensions.IConnections, Connections),
    (sockets.IClientSocket, Session),
    (sockets.IClientSocket, FramedSocket),
    (sockets.IClientSocket, AskedTalk),
    (sockets.IOriginSocket, WorkerTalk),
    (sockets.ISocketOwner, FramedSocket),
]


@pytest.mark.parametrize(
    ("contract", "implementer"), KEPT, ids=[f"{kept.__name__}-{by.__name__}" for kept, by in KEPT]
)
def test_a_class_keeps_its_contract(contract: Any, implementer: type) -> None:
    assert verifyClass(contract, implementer)


def test_the_built_in_plugins_are_found_as_those_of_third_parties_are() -> None:
    assert set(target_types()) == {"", "test", "demo", "zhttp", "zhttpreq"}
    assert "http" in {source.name for source in publish_sources()}
    for kind in target_types().values():
        assert extensions.ITargetType.providedBy(kind)
    for source in publish_sources():
        assert extensions.IPublishSource.providedBy(source)


FILTERS = ["build-id", "http-check", "http-modify", "require-sub", "skip-self", "skip-users", "var-subst"]


def test_the_built_in_filters_are_found_as_well() -> None:
    assert sorted(one.name for one in message_filters()) == FILTERS


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_keeps_its_contract(name: str) -> None:
    (one,) = (one for one in message_filters() if one.name == name)
    assert verifyObject(extensions.IMessageFilter, one)
    assert one.targets and one.targets <= {"delivery", "message", "response"}
    if "response" in one.targets:
        assert verifyObject(extensions.IResponseFilter, one)
