"""Fixtures of the loopback tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_twisted

from tests.loopback.originstage import OriginStage


@pytest_twisted.async_yield_fixture
async def origin_stage() -> AsyncIterator[OriginStage]:
    """A raw backend and what an origin needs to reach it."""
    stage = await OriginStage.set_up()
    yield stage
    await stage.clear()
