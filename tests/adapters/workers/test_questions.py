"""What the parent asks all workers, and what each worker gets of the limits."""

from __future__ import annotations

import os

import pytest
from zope.interface.verify import verifyObject

from pushpin_tw.config import Config, parse_config
from pushpin_tw.extensions import IConnections
from pushpin_tw.workers.questions import Questions
from pushpin_tw.workers.share import share, worker_count


class Workers:
    """Remember what they were told."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.told: list[tuple[object, ...]] = []

    def tell(self, *message: object) -> range:
        self.told.append(message)
        return range(self.count)


def test_an_answer_is_that_of_all_workers() -> None:
    workers, answers = Workers(3), []
    questions = Questions(workers.tell)
    assert verifyObject(IConnections, questions)
    questions.find(["a", "b"], answers.append)
    assert workers.told == [("find", 1, ["a", "b"])]
    questions.answered(0, 1, ["a"])
    questions.answered(0, 1, ["a"])
    questions.answered(2, 1, ["b"])
    assert answers == []
    questions.answered(1, 1, [])
    assert answers == [["a", "b"]]
    questions.answered(1, 1, ["late"])
    assert answers == [["a", "b"]]


@pytest.mark.parametrize(("found", "expected"), [(None, False), (1, True)])
def test_one_worker_has_the_socket_or_none(found: int | None, expected: bool) -> None:
    workers, answers = Workers(3), []
    questions = Questions(workers.tell)
    questions.refresh("id", answers.append)
    for worker in range(3):
        questions.answered(worker, 1, [True] if worker == found else [])
    assert answers == [expected]


def test_nobody_waits_for_a_worker_that_is_gone() -> None:
    workers, answers = Workers(2), []
    questions = Questions(workers.tell)
    questions.find(["a"], answers.append)
    questions.answered(0, 1, ["a"])
    questions.left(1)
    assert answers == [["a"]]
    workers.count = 0
    questions.find(["a"], answers.append)
    assert answers == [["a"], []]


def test_all_sockets_of_a_channel() -> None:
    workers = Workers(2)
    Questions(workers.tell).refresh_channel("c")
    assert workers.told == [("refresh channel", "c")]


def configured(text: str) -> Config:
    return parse_config(f"[runner]\nhttp_port=8000\n{text}", "pushpin.conf", lambda path: "")


def test_limits_are_shared() -> None:
    config = share(
        configured(
            "client_maxconn=100\n[proxy]\nmax_open_requests=7\n"
            "[handler]\nmessage_rate=2500\nmessage_hwm=2\n[tw]\nmax_open_requests=1\n"
        ),
        3,
    )
    assert (config.runner.client_maxconn, config.proxy.max_open_requests) == (34, 3)
    assert (config.handler.message_rate, config.handler.message_hwm) == (834, 1)
    assert (config.tw.max_open_requests, config.tw.workers) == (1, 3)


def test_what_is_unlimited_stays_so() -> None:
    config = share(configured(""), 4)
    assert (config.handler.message_rate, config.handler.message_hwm) == (-1, -1)
    assert (config.proxy.max_open_requests, config.tw.max_open_requests) == (-1, -1)


def test_the_parent_has_put_items_in_order() -> None:
    config = share(configured("[handler]\nmessage_wait=5000\nid_cache_ttl=60\n"), 2)
    assert (config.handler.message_wait, config.handler.id_cache_ttl) == (0, 0)


@pytest.mark.parametrize(("text", "count"), [("", 1), ("[tw]\nworkers=5\n", 5)])
def test_how_many_workers(text: str, count: int) -> None:
    assert worker_count(configured(text)) == count


def test_one_worker_for_each_core() -> None:
    assert worker_count(configured("[tw]\nworkers=0\n")) == len(os.sched_getaffinity(0))
