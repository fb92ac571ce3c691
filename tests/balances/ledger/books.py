"""A stand-in for the scripts: does to Redis what a call does (state, then one record), under any epoch one likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from balances import keys
from balances.ledger import reader
from balances.ledger.opening import Opened, ShardOpening
from balances.ledger.sync import Sync
from balances.packing import ACCOUNT_FIELD, fresh_account
from balances.redis.primaries import ALL, plain
from balances.structs.account import MAIN, Account, CounterAmount, Take
from balances.structs.charge import Phase
from balances.structs.record import Entry, Record, Usage
from balances.structs.session import Answer, IdempotencyRecord, Line, Session, SessionState

pack = msgspec.msgpack.Encoder().encode
unpack_account = msgspec.msgpack.Decoder(Account).decode
unpack_session = msgspec.msgpack.Decoder(Session).decode

NOW_MS = 1_800_000_000_000


def session_of(session: str, *, held: int = 0, forget_ms: int = 0, opened_ms: int = NOW_MS) -> Session:
    line = Line(10, -1, 1, total=5, debited=7, granted=100 if held else 0)
    if held:
        line.hold, line.due_ms = [Take(MAIN, held)], NOW_MS + 1_200_000
    state = SessionState.CLOSED if forget_ms else SessionState.OPEN
    answer = msgspec.Raw(pack(Answer("1:0", "f", 1, True, msgspec.Raw(b"\xa2ok"))))
    return Session(
        1, session, "sub", "data", state, "pgw", "realm", "pgw", opened_ms, NOW_MS, forget_ms, 0, [], [answer], [line]
    )  # fmt: skip


class LedgerStores:
    """One Redis and one PostgreSQL."""

    def __init__(self, redis: reader.Client, pool: Any) -> None:
        self.redis, self.pool = redis, pool
        self.alarms: list[str] = []
        self.sync = Sync(plain(redis), pool, alarm=self.alarms.append)
        self.epoch = 0

    async def open(self, now_s: int = 1_000, *, anew: bool = False) -> Opened:
        opening = ShardOpening(plain(self.redis), self.pool, self.sync.writer, alarm=self.alarms.append)
        opened = await opening.run(now_s, anew=ALL if anew else ())
        self.epoch = opened.epoch
        return opened

    async def account(self, name: str) -> Account | None:
        packed = await self.redis.hget(keys.account(name), ACCOUNT_FIELD)
        return None if packed is None else unpack_account(packed)

    async def move(
        self,
        name: str,
        amount: int,
        *,
        session: Session | None = None,
        once: tuple[str, IdempotencyRecord] | None = None,
        reauthorize: list[str] | None = None,
        at_ms: int = NOW_MS,
        inputs: dict[str, Any] | None = None,
        counters: Sequence[CounterAmount] = (),
        **fields: Any,
    ) -> str:
        """One call: `amount` enters the main bucket, paying one usage; 0 for no entry. Returns the record's id."""
        account = await self.account(name) or fresh_account(name, "EUR")
        main = account.buckets[0]
        entries = []
        if amount:
            account.seq += 1
            main.amount += amount
            entries = [Entry(account.seq, 0, 0, amount, main.amount, "revenue", "use", 0)]
        if session is not None:
            main.held = sum(take.amount for line in session.lines for take in line.hold)
        usage = Usage(10, -1, 1, 100, 0, 100, -amount, 1000, 0, 0, "data@1", at_ms, counters=list(counters))
        record = Record(
            1, "charge", name, "EUR", "sub", session.id if session else "", "data", Phase.UPDATE, at_ms, at_ms,
            "2:1", "f", 7, entries, [usage], reauthorize=reauthorize or [],
            once_key=once[0] if once else "", once_until_ms=NOW_MS + 3_600_000 if once else 0,
        )  # fmt: skip
        record.session = fields.pop("session_name", record.session)
        for field, value in fields.items():
            setattr(record, field, value)
        entry = {"r": pack(record), "a": pack(account), "c": pack(inputs or {"tariff": "data", "zone": "home\0"})}
        if session is not None:
            entry["s"] = pack(session)
        if once is not None:
            entry["o"] = pack(once[1])
        pipe = self.redis.pipeline(transaction=True)
        pipe.xadd(keys.ledger(keys.shard_of(name)), entry, id=f"{self.epoch}-*")
        pipe.hset(keys.account(name), ACCOUNT_FIELD, entry["a"])
        if session is not None:
            pipe.hset(keys.account(name), session.id, entry["s"])
        if once is not None:
            pipe.set(keys.once(name, once[0]), entry["o"], px=3_600_000)
        return str((await pipe.execute())[0].decode())

    async def balance(self, name: str) -> int | None:
        """The last balance in PostgreSQL."""
        value: int | None = await self.pool.fetchval(
            "SELECT after FROM ledger_entries WHERE account = $1 ORDER BY seq DESC LIMIT 1", name
        )
        return value

    async def count(self, table: str) -> int:
        return int(await self.pool.fetchval(f"SELECT count(*) FROM {table}"))


async def connect(redis_url: str, pg_dsn: str) -> LedgerStores:
    return LedgerStores(reader.connect(redis_url), await asyncpg.create_pool(pg_dsn, min_size=1, max_size=8))


async def close(books: LedgerStores) -> None:
    await books.redis.aclose()
    await books.pool.close()
