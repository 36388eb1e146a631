"""Statistics as packets (zeromq 5.1)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pushpin_tw.wire.statspacket import KINDS, Members, concerns, encode_packet
from pushpin_tw.wire.tnetstring import decode

MEMBERS: Members = {"from": "handler_9", "mode": "stream", "channel": "sx", "ttl": 60, "subscribers": 1}
VALUES = some.one_of(some.text(), some.integers(0, 2**63), some.booleans())


def test_tnetstrings() -> None:
    packet = b"sub T80:4:from,9:handler_9,4:mode,6:stream,7:channel,2:sx,3:ttl,2:60#11:subscribers,1:1#}"
    assert encode_packet("sub", MEMBERS, False) == packet


def test_zmq_174_json_is_compact_and_sorted() -> None:
    members = {"requests-received": 1, "from": "handler_9"}
    assert encode_packet("counts", members, True) == b'counts J{"from":"handler_9","requests-received":1}'
    assert encode_packet("sub", {"channel": "ä"}, True) == 'sub J{"channel":"ä"}'.encode()


@given(some.dictionaries(some.text(), VALUES))
def test_whatever_is_in_it_can_be_read(members: Members) -> None:
    packet = encode_packet("conn", members, True)
    assert packet.startswith(b"conn J")
    assert json.loads(packet[6:]) == members
    packet = encode_packet("conn", members, False)
    assert packet.startswith(b"conn T")
    read = decode(packet[6:])
    assert {
        key: value.decode() if isinstance(value, bytes) else value for key, value in read.items()
    } == members


@pytest.mark.parametrize(
    ("topic", "kinds"),
    [
        (b"", set(KINDS)),
        (b"sub ", {"sub"}),
        (b"sub", {"sub"}),
        (b"sub T80:4:from", {"sub"}),
        (b"co", {"conn", "counts"}),
        (b"connx", set()),
        (b"\xff", set()),
    ],
)
def test_whom_a_topic_concerns(topic: bytes, kinds: set[str]) -> None:
    assert {kind for kind in KINDS if concerns(topic, kind)} == kinds
