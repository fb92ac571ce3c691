from collections.abc import AsyncIterator

import pytest

from tests.loadtest.fake import Fake


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    """A charging server without faults, running."""
    async with Fake().running() as server:
        yield server
