"""How the benchmark of workers decides whether a process may run."""

from __future__ import annotations

from benchmarks.allowance import SAVED, Account


def test_who_has_used_its_share_waits_until_it_has_grown() -> None:
    account = Account(0.2, now=10.0, used=3.0)
    assert account.look(10.01, 3.01)  # has used 10 ms, may have had 2
    assert account.stopped
    assert not account.look(10.04, 3.01)
    assert account.stopped
    assert account.look(10.05, 3.01)
    assert not account.stopped
    assert not account.look(10.06, 3.0115)


def test_a_share_that_is_not_used_is_kept_for_a_moment_only() -> None:
    account = Account(0.2, now=10.0, used=3.0)
    assert not account.look(100.0, 3.0)
    assert not account.look(100.0, 3.0 + SAVED * 0.99)
    assert account.look(100.0, 3.0 + SAVED * 1.01)


def test_over_a_while_it_gets_its_share_whatever_the_intervals() -> None:
    account, used, now = Account(0.25, now=0.0, used=0.0), 0.0, 0.0
    for step in range(20_000):
        passed = (0.0005, 0.001, 0.007)[step % 3]
        now += passed
        if not account.stopped:
            used += passed
        account.look(now, used)
    assert 0.249 < used / now < 0.251
