"""The Autobahn test suite against the proxy, where it is installed: no case may fail.

``make wstest`` installs it, and has the other sections too, which take longer.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.wstest.__main__ import PROGRAM, run
from tests.wstest.setups import SETUPS

SUITE = Path(os.environ.get("WSTEST", PROGRAM)).absolute()
COUNTS = {(1, 2, 3, 4, 5): 64, (6,): 145, (7, 10): 38}
"""How many cases there are in some sections."""
REFUSED = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}
"""A message, and right behind it an offence: the suite would like the echo of the one before the end for the
other, but the end comes from the proxy and the echo from further away."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SUITE.exists(), reason=f"no Autobahn test suite at {SUITE} (make wstest)"),
]


@pytest.mark.parametrize("sections", COUNTS, ids=lambda sections: "-".join(map(str, sections)))
@pytest.mark.parametrize("name", ["pushpin_tw", "pushpin_tw-http"])
def test_no_case_fails(name: str, sections: tuple[int, ...], tmp_path: Path) -> None:
    cases = [f"{section}.*" for section in sections]
    results = run(name, SETUPS[name], cases, str(SUITE), tmp_path, tmp_path / "reports")
    assert results.failed() == []
    assert len(results.cases) == COUNTS[sections]
    assert results.with_outcome("UNIMPLEMENTED") == []
    assert set(results.with_outcome("NON-STRICT")) <= REFUSED
