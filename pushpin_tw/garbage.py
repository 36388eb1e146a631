"""How often Python looks for garbage that refers to itself.

Called by what starts a process (``command``, ``tap``, a worker).  Never by what others may embed: this is a
setting of the whole process.

Whoever waits is a few long-lived objects, none of them garbage, and a full collection looks at all of them.
By its usual settings Python makes one whenever their number has grown by a quarter: when 16 000 clients
poll again at once, that took a third of the time, in pieces of 30 ms during which nobody was served.
"""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Objects more than before that make Python look at the newest ones: a ms of work at most."""
MIDDLE = 20
"""Collections of the newest ones until those that have outlived one are looked at."""
FULL = 100
"""Collections of these until everything may be looked at: 40 million objects, more than holds come to."""


def look_seldom() -> None:
    """Look for garbage among what is new as ever, among what has been there for long very seldom.

    Almost nothing here refers to itself: what is not needed any more is gone at once, by its count.
    """
    gc.set_threshold(YOUNG, MIDDLE, FULL)
