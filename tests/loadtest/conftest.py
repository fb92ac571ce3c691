from collections.abc import AsyncIterator

import pytest

from tests.loadtest.fake import Fake


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fake]:
    """A charging server without faults, running, in which a tariff is in force at once."""
    monkeypatch.setattr("loadtest.provision.IN_FORCE_S", 0.0)
    async with Fake().running() as server:
        yield server
