"""What the parent asks all workers at once: which connections there are, and to refresh them.

Used by the command socket through ``IConnections``.  An answer is complete when every worker that was asked
has answered or is gone; how long that may take is for whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zope.interface import implementer

from pushpin_tw.extensions import IConnections


class Question:
    """One question, on its way."""

    __slots__ = ("_done", "_gathered", "_open")

    def __init__(self, workers: Iterable[int], done: Callable[[list[Any]], None]) -> None:
        self._open = set(workers)
        self._gathered: list[Any] = []
        self._done = done

    def answered(self, worker: int, answers: Iterable[Any]) -> bool:
        """``answers`` of one worker, none when it is gone; whether the question is settled."""
        if worker in self._open:
            self._open.discard(worker)
            self._gathered += answers
        if self._open:
            return False
        self._done(self._gathered)
        return True


@implementer(IConnections)
class Questions:
    """The connections of all workers."""

    def __init__(self, tell: Callable[..., Iterable[int]]) -> None:
        """``tell(*message)`` sends a message to every worker and returns whom it has reached."""
        self._tell = tell
        self._asked: dict[int, Question] = {}
        self._number = 0

    def find(self, names: list[str], done: Callable[[list[str]], None]) -> None:
        """See ``IConnections``."""
        self._ask(done, "find", names)

    def refresh(self, name: str, done: Callable[[bool], None]) -> None:
        """See ``IConnections``."""
        self._ask(lambda answers: done(any(answers)), "refresh", name)

    def refresh_channel(self, channel: str) -> None:
        """See ``IConnections``."""
        self._tell("refresh channel", channel)

    def _ask(self, done: Callable[[list[Any]], None], name: str, argument: Any) -> None:
        self._number += 1
        asked = tuple(self._tell(name, self._number, argument))
        question = Question(asked, done)
        if asked:
            self._asked[self._number] = question
        else:
            done([])

    def answered(self, worker: int, number: int, answers: list[Any]) -> None:
        """A worker has answered."""
        question = self._asked.get(number)
        if question is not None and question.answered(worker, answers):
            del self._asked[number]

    def left(self, worker: int) -> None:
        """A worker will not answer any more."""
        for number in list(self._asked):
            self.answered(worker, number, [])
