from collections.abc import AsyncIterator

import pytest

from tests.ocs.api_harness import ApiHarness, api_harness
from tests.servers import Servers


@pytest.fixture
async def harness(servers: Servers) -> AsyncIterator[ApiHarness]:
    async with api_harness(servers) as made:
        yield made
