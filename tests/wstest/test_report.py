"""From outcomes to a table."""

from __future__ import annotations

from tests.wstest.report import Counts, Results, describe


def case(behavior: str, close: str = "OK") -> dict[str, str]:
    return {"behavior": behavior, "behaviorClose": close}


RESULTS = Results(
    {
        "2.10": case("OK"),
        "2.9": case("FAILED"),
        "1.1.2": case("OK", "UNCLEAN"),
        "1.1.1": case("OK"),
        "13.1.1": case("UNIMPLEMENTED"),
        "7.1.1": case("NON-STRICT", "INFORMATIONAL"),
        "7.1.2": case("INFORMATIONAL", "INFORMATIONAL"),
    }
)


def test_the_worse_of_two_words_counts() -> None:
    assert RESULTS.failed() == ["1.1.2", "2.9"]
    assert RESULTS.with_outcome("NON-STRICT") == ["7.1.1"]
    assert RESULTS.with_outcome("OK") == ["1.1.1", "2.10"]


def test_sections_are_counted() -> None:
    assert RESULTS.sections() == [
        Counts(1, passed=1, failed=1),
        Counts(2, passed=1, failed=1),
        Counts(7, non_strict=1, informational=1),
        Counts(13, unimplemented=1),
    ]


def test_the_table_and_what_did_not_simply_pass() -> None:
    assert describe(Results({"2.9": case("FAILED"), "2.10": case("NON-STRICT")})) == (
        "==  ===============  =====  ======  ==========  =============  =============  ======\n"
        "no  section          cases  passed  non-strict  informational  unimplemented  failed\n"
        "==  ===============  =====  ======  ==========  =============  =============  ======\n"
        "2   pings and pongs  2      0       1           0              0              1\n"
        "==  ===============  =====  ======  ==========  =============  =============  ======\n"
        "non-strict: 2.10\n"
        "failed: 2.9"
    )
