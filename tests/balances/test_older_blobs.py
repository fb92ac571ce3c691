"""What an older version stored is read, by Lua and by Python, with the defaults of what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.ledger.record import crossings_json, decode
from balances.packing import ACCOUNT_FIELD, fresh_account, pack
from balances.structs.account import Account
from balances.structs.blob import FORMAT
from balances.structs.posting import AccountSettings, Post, Posting
from balances.structs.record import Record
from balances.structs.thresholds import Crossing
from tests.balances.twins import Twins

ACCOUNT = "acc"
ACCOUNT_FIELDS, BUCKET_FIELDS, RECORD_FIELDS = 14, 10, 25
"""As many as an account, a bucket and a record had in the first version of format 2."""


def as_first(account: Account) -> bytes:
    values: list[Any] = msgspec.to_builtins(account)
    buckets = values[12]
    values[12] = [bucket[:BUCKET_FIELDS] for bucket in buckets]
    return msgspec.msgpack.encode(values[:ACCOUNT_FIELDS])


@pytest.fixture
def twins(redis_url: str) -> Iterator[Twins]:
    twins = Twins(redis_url)
    yield twins
    twins.close()


def test_an_account_of_before_is_read_and_grows_with_its_next_change(twins: Twins) -> None:
    account = fresh_account(ACCOUNT, "EUR", suspend_below=0, resume_at=0)
    twins.open(account)
    for client in (twins.redis, twins.general):
        client.hset(keys.account(ACCOUNT), ACCOUNT_FIELD, as_first(account))
    assert twins.account(ACCOUNT) == account
    posting = Posting(0, 0, -5, "adjustment", "adjustment")
    assert twins.post(Post(ACCOUNT, "", "", 1, 1_000, "", "", "", [posting]))[0] == "ok"
    packed = twins.redis.hget(keys.account(ACCOUNT), ACCOUNT_FIELD)
    assert len(msgspec.msgpack.decode(packed)) == len(Account.__struct_fields__)
    assert twins.settings(AccountSettings(ACCOUNT, 2, None, suspend_below=-10, resume_at=-10)) == "ok"
    stored = twins.account(ACCOUNT)
    assert stored is not None
    assert stored.generation == 2


def test_a_record_of_before_says_only_that_a_crossing_was() -> None:
    first: list[Any] = msgspec.to_builtins(Record(FORMAT, "post", ACCOUNT, "EUR"))[:RECORD_FIELDS]
    first[Record.__struct_fields__.index("threshold_events")] = ["suspend", "resume"]
    account = pack(fresh_account(ACCOUNT, "EUR"))
    call = decode([b"7-1", [b"r", msgspec.msgpack.encode(first), b"a", account]])
    assert call.broken == ""
    assert call.record.threshold_events == [
        Crossing("suspend", "account", "", 0, 0),
        Crossing("resume", "account", "", 0, 0),
    ]
    assert call.record.generation == 0


def test_a_crossing_that_is_none_breaks_the_record() -> None:
    wrong: list[Any] = msgspec.to_builtins(Record(FORMAT, "post", ACCOUNT, "EUR"))
    wrong[Record.__struct_fields__.index("threshold_events")] = [7]
    call = decode([b"7-1", [b"r", msgspec.msgpack.encode(wrong)]])
    assert call.broken.startswith("it cannot be read")


def test_a_crossing_in_postgresql_is_an_object_whose_unit_is_a_word() -> None:
    assert crossings_json([]) is None
    text = crossings_json([Crossing("below", "threshold", "low data", 1_000, 999, 1, "data")])
    assert text is not None
    assert msgspec.json.decode(text) == [
        {
            "kind": "below",
            "of": "threshold",
            "name": "low data",
            "level": 1_000,
            "value": 999,
            "unit": "octets",
            "bucket": "data",
        }
    ]
