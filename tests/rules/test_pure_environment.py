"""The pure rooms work where neither Twisted nor ZeroMQ exists: their tests run once more in such a place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A finder that stands before all others and refuses; pytest-twisted would itself import Twisted, so pytest
# loads no plugins of its own accord.
RUNNER = """
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"twisted", "zmq", "autobahn", "treq"}:
            raise ModuleNotFoundError(f"{name} is not here: this is the pure environment", name=name)
        return None


sys.meta_path.insert(0, Refuse())
import pytest

sys.exit(pytest.main(sys.argv[1:]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, "-c", RUNNER, "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_pure_tests_need_neither_twisted_nor_zmq() -> None:
    done = run("tests/pure")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_environment_really_refuses(tmp_path: Path) -> None:
    """Or else the test above would prove nothing."""
    probe = tmp_path / "test_probe.py"
    probe.write_text("def test_probe():\n    import twisted\n")
    done = run(str(probe))
    assert done.returncode == 1
    assert "this is the pure environment" in done.stdout
