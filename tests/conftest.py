"""Settings that every test shares: reproducible property tests, no surprises from the environment.

Called by pytest alone. Holds no fixture of a single room; those live beside the tests that use them.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The shared profile never fails because a busy machine was slow; "thorough" searches ten times longer.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("shared"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "shared"))
