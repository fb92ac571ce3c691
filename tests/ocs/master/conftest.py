from collections.abc import AsyncIterator

import pytest

from tests.ocs.api_harness import Office, office
from tests.servers import Servers


@pytest.fixture
async def desk(servers: Servers) -> AsyncIterator[Office]:
    async with office(servers) as made:
        yield made
