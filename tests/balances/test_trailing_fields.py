"""A field that a newer build has appended, in the hands of this one (balances/README.md, "Stored formats").

Scripts keep it as it is in whatever they change in place, and bring it to nothing new: they do not know what it means.
Python drops it of all that it restores. So a field that money depends on is not written before every host knows it: it
is of the next stored format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD, fresh_account, pack, unpack_account
from balances.structs.account import Account, Bucket
from balances.structs.posting import Post, Posting
from balances.structs.session import Line, Session
from tests.balances.rules.account_harness import Counterparts, ask
from tests.balances.twins import Twins

ACCOUNT, MARK = "acc", 77


RAWS = list[msgspec.Raw]
LINES = Session.__struct_fields__.index("lines")


def grown(packed: bytes) -> bytes:
    """A session and its lines with one field more each. Its blobs stand for texts: nothing is decoded that need not."""
    session = msgspec.msgpack.decode(packed, type=RAWS)
    lines = msgspec.msgpack.decode(session[LINES], type=list[RAWS])
    for line in lines:
        line.append(msgspec.Raw(bytes([MARK])))
    session[LINES] = msgspec.Raw(msgspec.msgpack.encode(lines))
    return msgspec.msgpack.encode([*session, msgspec.Raw(bytes([MARK]))])


@pytest.fixture
def twins(redis_url: str) -> Iterator[Twins]:
    twins = Twins(redis_url)
    yield twins
    twins.close()


def test_a_posting_keeps_what_it_does_not_know_of_an_account_and_its_buckets(twins: Twins) -> None:
    twins.open(fresh_account(ACCOUNT, "EUR"))
    name = keys.account(ACCOUNT)
    values: list[Any] = msgspec.msgpack.decode(twins.redis.hget(name, ACCOUNT_FIELD))
    assert len(values) == len(Account.__struct_fields__)
    values[Account.__struct_fields__.index("buckets")][0].append(MARK)
    values.append(MARK)
    for client in (twins.redis, twins.general):
        client.hset(name, ACCOUNT_FIELD, msgspec.msgpack.encode(values))
    assert twins.post(Post(ACCOUNT, "", "", 1, 1_000, "", "", "", [Posting(0, 0, 5, "top-up", "top-up")]))[0] == "ok"
    after: list[Any] = msgspec.msgpack.decode(twins.redis.hget(name, ACCOUNT_FIELD))
    assert after[-1] == MARK
    assert after[Account.__struct_fields__.index("buckets")][0][len(Bucket.__struct_fields__)] == MARK


def test_a_report_keeps_it_of_its_session_and_its_line(redis_url: str) -> None:
    at = Counterparts(redis_url)
    try:
        at.topup(1_000)
        at.start(ask(10, 10))
        name = keys.account(ACCOUNT)
        for client in (at.twins.redis, at.twins.general):
            client.hset(name, "gw;1", grown(client.hget(name, "gw;1")))
        at.update(ask(10, 10, used=10))
        session = msgspec.msgpack.decode(at.twins.redis.hget(name, "gw;1"), type=RAWS)
        line = msgspec.msgpack.decode(session[LINES], type=list[RAWS])[0]
        assert bytes(session[-1]) == bytes([MARK])
        assert len(line) == len(Line.__struct_fields__) + 1
        assert bytes(line[-1]) == bytes([MARK])
    finally:
        at.twins.close()


def test_a_restore_drops_it() -> None:
    values: list[Any] = msgspec.to_builtins(fresh_account(ACCOUNT, "EUR"))
    packed = msgspec.msgpack.encode([*values, MARK])
    assert msgspec.msgpack.decode(pack(unpack_account(packed))) == values
