"""What is asked of the live store in one write is answered, refused or given up as one."""

from typing import Any

import pytest
from redis.exceptions import ResponseError

from balances.ledger import reader
from balances.ledger.reader import STORE_AWAY, of_redis, send
from tests.balances.ledger.books import LedgerStores


async def test_a_refusal_among_replies_is_raised_and_the_rest_is_not_left_behind(books: LedgerStores) -> None:
    with pytest.raises(ResponseError):
        await send(books.redis, [("SET", "one", 1), ("HGET", "one", "field"), ("GET", "one")])
    assert await send(books.redis, [("GET", "one"), ("GET", "none")]) == [b"1", None]


async def test_a_store_that_hangs_is_away(books: LedgerStores, monkeypatch: Any) -> None:
    await send(books.redis, [("PING",)])
    with monkeypatch.context() as hurry:
        hurry.setattr(reader, "ANSWER_S", 0.01)
        await books.redis.client_pause(500)
        with pytest.raises(STORE_AWAY) as raised:
            await send(books.redis, [("PING",), ("PING",)])
        assert of_redis(raised.value)
    assert await send(books.redis, [("GET", "none")]) == [None]  # not the late answer to what was asked before
