"""Memory is full: new holds are refused with nothing written, and settlement goes on (charging.md section 11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from balances import keys
from balances.packing import fresh_account, pack
from balances.redis import scripts
from balances.structs.account import Account
from balances.structs.blob import raw_of
from balances.structs.charge import Ask, Charge, Phase, UsageReport
from balances.structs.posting import AccountOpening
from tariffs.ladder import Ladder, Step
from tariffs.units import Kind

LADDER = raw_of(pack(Ladder((Step(block=1, price=1),))))
OF = keys.AccountKeys("a")


@pytest.fixture
def store(redis_url: str) -> Iterator[Any]:
    client: Any = redis.Redis.from_url(redis_url)
    for script in scripts.ALL.values():
        client.script_load(script.text)
    account = fresh_account("a", "EUR")
    account.buckets[0].amount = 1_000
    opening = AccountOpening(raw_of(pack(account)), [], [], 1, "open")
    client.evalsha(scripts.ALL["open"].sha, 4, OF.account, OF.sessions, OF.due, OF.ledger, "7", pack(opening))
    limit = client.config_get("maxmemory")["maxmemory"]  # other tests find the store as it was
    yield client
    client.config_set("maxmemory", limit)
    client.close()


def charge(client: Any, script: str, phase: Phase, number: int, used: int) -> str:
    reports = [UsageReport(-1, used, -1, -1, 1_000)] if used else []
    asked = -1 if phase == Phase.STOP else 0
    ask = Ask(10, -1, Kind.OCTETS, reports, asked, 100, 1, 1_000, 1, LADDER, 60_000)
    one = Charge(
        *("a", "s", "gw;1", "data", phase, number, f"{phase}:{number}", True, f"f{number}", number, False),
        *(1_000, 1_000, 0, [ask], "gw", "r", "gw"),
    )
    names = (OF.account, OF.sessions, OF.due, OF.ledger)
    return str(client.evalsha(scripts.ALL[script].sha, 4, *names, "7", pack(one), b"")[0].decode())


def test_a_termination_is_settled_and_a_grant_refused(store: Any) -> None:
    assert charge(store, "charge", Phase.START, 0, 0) == "ok"
    records = store.xlen(OF.ledger)
    store.config_set("maxmemory", 1)
    assert charge(store, "charge", Phase.UPDATE, 1, 40) == "full"
    assert store.xlen(OF.ledger) == records, "nothing is written"
    assert charge(store, "settle", Phase.STOP, 2, 60) == "ok"
    (main,) = msgspec.msgpack.decode(store.get(OF.account), type=Account).buckets
    assert (main.amount, main.held) == (940, 0)
