"""What is asked of the live store in one write is answered, refused or given up as one."""

from collections.abc import Mapping
from typing import Any

import pytest
from redis.exceptions import ResponseError

from balances import keys
from balances.ledger import reader
from balances.ledger.reader import SHARDS_AT_ONCE, STORE_AWAY, Look, StreamReader, of_redis, send
from balances.ledger.record import START, RecordId
from balances.redis.primaries import plain
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


async def test_shards_are_read_some_at_a_time_and_none_where_the_server_changes_between(
    books: LedgerStores, monkeypatch: Any
) -> None:
    for shard in (0, 200, 255):
        await books.redis.xadd(keys.ledger(shard), {"r": str(shard)}, id="1-1")
    everywhere, looks = dict.fromkeys(range(keys.SHARDS), START), StreamReader(plain(books.redis))
    asked: list[int] = []
    changes = [0]

    async def counted(cursors: Mapping[int, RecordId], count: int) -> Look:
        asked.append(len(cursors))
        look = await one_look(looks, cursors, count)
        return look._replace(server=look.server._replace(replid="another")) if len(asked) == changes[0] else look

    one_look = StreamReader._after
    monkeypatch.setattr(looks, "_after", counted)
    assert sorted((await looks.after(everywhere, 10)).entries) == [0, 200, 255]
    assert sum(asked) == keys.SHARDS
    assert max(asked) <= SHARDS_AT_ONCE
    for changes[0] in range(1, keys.SHARDS // SHARDS_AT_ONCE + 1):
        asked.clear()
        assert not (await looks.after(everywhere, 10)).entries
