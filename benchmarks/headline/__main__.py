"""``python -m benchmarks.headline``, the same as ``python -m benchmarks headline``."""

from __future__ import annotations

import sys

from benchmarks.headline.command import main

if __name__ == "__main__":
    main(sys.argv[1:])
