"""The tests; ``tests.support`` is what they run with."""
