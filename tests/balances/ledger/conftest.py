from collections.abc import AsyncIterator

import pytest

from tests.balances.ledger.books import LedgerStores, close, connect


@pytest.fixture
async def books(redis_url: str, pg_dsn: str) -> AsyncIterator[LedgerStores]:
    both = await connect(redis_url, pg_dsn)
    yield both
    await close(both)
