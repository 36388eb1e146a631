"""A clock that is moved by hand, without a reactor."""

from __future__ import annotations

from typing import Any


class Clock:
    """The two methods that the wheel uses, driven by hand."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self.calls: list[Any] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Any, *args: Any) -> Call:
        entry = Call(self, self.now + delay, call, args)
        self.calls.append(entry)
        return entry

    def advance(self, seconds: float, step: float = 0.01) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(end, self.now + step)
            for call in [c for c in self.calls if c.time <= self.now + 1e-9]:
                self.calls.remove(call)
                call.run()


class Call:
    def __init__(self, clock: Clock, time: float, call: Any, args: tuple[Any, ...]) -> None:
        self.clock, self.time, self.call, self.args = clock, time, call, args

    def run(self) -> None:
        self.call(*self.args)

    def cancel(self) -> None:
        self.clock.calls.remove(self)
