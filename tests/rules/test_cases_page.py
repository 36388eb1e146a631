"""The page of all conformance cases says what the tests show."""

from __future__ import annotations

from difflib import unified_diff

from tests.cases import COMMAND, PAGE, page


def test_the_page_is_up_to_date() -> None:
    changed = list(unified_diff(PAGE.read_text().splitlines(), page().splitlines(), lineterm="", n=0))
    told = "\n".join(["tests or titles have changed; renew the page with", f"    {COMMAND}", *changed[:40]])
    assert not changed, told
