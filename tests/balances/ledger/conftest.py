from collections.abc import AsyncIterator

import pytest

from tests.balances.ledger.books import Books, close, connect


@pytest.fixture
async def books(redis_url: str, pg_dsn: str) -> AsyncIterator[Books]:
    both = await connect(redis_url, pg_dsn)
    yield both
    await close(both)
