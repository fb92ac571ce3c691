"""Brings an account back from PostgreSQL (durability.md rule 8), and answers what Redis has forgotten.

An account is as it was after its last call, and so is each of its sessions; only holds are not brought back: what was
granted is charged when it is reported, and nobody waits for money that is held by nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger import heads, months
from balances.ledger.reader import send
from balances.ledger.record import fit
from balances.model.courses import FoundIncarnation, incarnation_of
from balances.packing import unpack_answer
from balances.redis.primaries import ALL, Primaries, by_primary
from balances.structs.account import Account
from balances.structs.blob import blob_of
from balances.structs.charge import Charge
from balances.structs.session import IdempotencyRecord, Line, Session

GRACE_MS: Final = 1_200_000
"""Supervision leaves a restored session alone this long: two default Validity-Times. Its client could not report."""

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_SESSION: Final = msgspec.msgpack.Decoder(Session)
_ONCE: Final = msgspec.msgpack.Decoder(IdempotencyRecord)


class Quarantined(Exception):
    """PostgreSQL does not know what the account is now: its records wait for a person (quarantine.py)."""


class Restored(NamedTuple):
    account: Account
    sessions: list[Session]
    answers: list[tuple[str, IdempotencyRecord, int]]
    """(once key, answer, until when it is kept)."""


async def restore(pg: Any, account: str, *, now_ms: int) -> Restored | None:
    """What Redis gets back; None when PostgreSQL has no record of the account. Quarantined: nothing may come back."""
    async with pg.acquire() as one, one.transaction(isolation="repeatable_read", readonly=True):
        await sound(one, account)
        packed = (await heads.states(one, [account])).get(fit(account))
        if packed is None:
            return None
        remembered = await one.fetch(
            "SELECT state FROM session_heads WHERE account = $1 AND (until_ms = 0 OR until_ms > $2)",
            fit(account),
            now_ms,
        )
        answers = await one.fetch(
            "SELECT key, state, until_ms FROM once WHERE account = $1 AND until_ms > $2", fit(account), now_ms
        )
    state = _ACCOUNT.decode(packed)
    for bucket in state.buckets:
        bucket.held = 0
    for counter in state.counters:
        counter.held = counter.sharers = 0
        counter.pool = []
    sessions = []
    for row in remembered:
        session = _SESSION.decode(row["state"])
        for line in session.lines:
            line.hold, line.granted, line.due_ms = [], 0, 0
        session.due_ms = session.forget_ms or max(session.due_ms, now_ms + GRACE_MS)
        sessions.append(session)
    return Restored(state, sessions, [(row["key"], _ONCE.decode(row["state"]), row["until_ms"]) for row in answers])


async def sound(pg: Any, account: str) -> None:
    """Raises Quarantined where PostgreSQL lacks what the account did last."""
    if await pg.fetchval(
        "SELECT EXISTS (SELECT FROM quarantined WHERE settled_at IS NULL AND account = $1)", fit(account)
    ):
        raise Quarantined(account)


async def known_accounts(pg: Any, at_once: int) -> AsyncIterator[list[str]]:
    """Every account PostgreSQL can restore, in order, some at a time."""
    last = ""
    query = "SELECT account FROM account_heads WHERE account > $1 ORDER BY account LIMIT $2"
    while found := [row["account"] for row in await pg.fetch(query, last, at_once)]:
        yield found
        last = found[-1]


async def rebuild(
    primaries: Primaries,
    pg: Any,
    bring_in: Callable[[str], Awaitable[object]],
    *,
    shards: Collection[int] = ALL,
    at_once: int = 200,
) -> AsyncIterator[int]:
    """Bring every account of these shards into Redis that only PostgreSQL has; yields how many, some at a time.
    Requests are served meanwhile and bring theirs sooner. A shard that no primary has is left out."""
    async for accounts in known_accounts(pg, at_once):
        by_shard: dict[int, list[str]] = {}
        for account in accounts:
            by_shard.setdefault(keys.shard_of(account), []).append(account)
        absent: list[str] = []
        for primary, mine in by_primary(primaries, by_shard.keys() & set(shards)):
            there = [account for shard in mine for account in by_shard[shard]]
            found = await send(primary.client, [("EXISTS", keys.account(account)) for account in there])
            absent += [account for account, exists in zip(there, found, strict=True) if not exists]
        await asyncio.gather(*(bring_in(account) for account in absent))
        yield len(absent)


async def find_session(pg: Any, session: str) -> tuple[str, str] | None:
    """(account, subscriber) of a session that Redis knows nothing of."""
    row = await pg.fetchrow(
        "SELECT account, subscriber FROM session_heads WHERE session = $1 ORDER BY opened_ms DESC LIMIT 1",
        fit(session),
    )
    return None if row is None else (row["account"], row["subscriber"])


async def find_request(pg: Any, charge: Charge) -> bytes | None:
    """The packed Outcome a request of a session was answered with, for 30 days; None when it is another request
    (charging.md section 3)."""
    row = await pg.fetchrow(
        "SELECT fingerprint, end_to_end, session_state FROM calls WHERE account = $1 AND session = $2"
        " AND request_key = $3 AND session_state IS NOT NULL ORDER BY end_to_end = $4 DESC, position DESC LIMIT 1",
        fit(charge.account),
        fit(charge.session),
        fit(charge.key),
        charge.end_to_end,
    )
    if row is None:
        return None
    same = row["end_to_end"] == charge.end_to_end or row["fingerprint"] == fit(charge.fingerprint)
    if not same and not charge.resend:
        return None
    session = _SESSION.decode(row["session_state"])
    kept = [*reversed(session.answers), session.initial, *session.former]
    for answer in (unpack_answer(one) for one in kept if blob_of(one)):
        if (answer.key, answer.fingerprint) == (charge.key, row["fingerprint"]):
            return blob_of(answer.outcome)
    return None


async def find_lines(pg: Any, charge: Charge) -> list[Line]:
    """The lines of a session when it was recorded last: how far its counters were counted (charging.md section 8)."""
    packed = await pg.fetchval(
        "SELECT state FROM session_heads WHERE account = $1 AND session = $2",
        fit(charge.account),
        fit(charge.session),
    )
    if packed is None:
        return []
    session = _SESSION.decode(packed)
    found = incarnation_of(charge, session) if charge.course else FoundIncarnation()
    if found.is_new:  # another session of that name
        return []
    return session.lines if found.bygone is None else found.bygone.lines


async def find_once(pg: Any, account: str, once_key: str) -> bytes | None:
    """The packed IdempotencyRecord of an event or posting, as long as PostgreSQL has it (30 days), refunds taken
    off. Quarantined: it may be among what is not known yet."""
    await sound(pg, account)
    packed = await pg.fetchval("SELECT state FROM once WHERE account = $1 AND key = $2", fit(account), fit(once_key))
    return None if packed is None else bytes(packed)


# '!' and ';' come after the blank and the ':' that may follow the name of an event.
_REFUNDABLE: Final = """
SELECT key, state FROM once
 WHERE account = $1 AND (key = $2 OR (key > $2 || ' ' AND key < $2 || '!') OR (key > $2 || ':' AND key < $2 || ';'))
 ORDER BY position DESC LIMIT 50
"""


async def find_refundable(pg: Any, account: str, event: str) -> tuple[str, bytes] | None:
    """(key, packed IdempotencyRecord) of the newest event of that name that is not wholly refunded: a client that uses
    numbers again has several under the key `event` (charging.md section 3, incarnations)."""
    for key, state in await pg.fetch(_REFUNDABLE, fit(account), fit(event)):
        once = _ONCE.decode(state)
        if once.units > 0 or once.cost > 0:
            return key, bytes(state)
    return None


async def purge(pool: Any, *, before_ms: int, spare: int = 1_000) -> int:
    """Delete calls older than their use, but none that a stream may still hold (an opening compares those one by one),
    and the heads of what is over for as long. Returns how many calls went one by one; months that are over go whole."""
    spared = await pool.fetch(
        "SELECT s.shard, c.epoch, c.n FROM shards s CROSS JOIN LATERAL (SELECT epoch, n FROM calls"
        " WHERE calls.shard = s.shard AND (calls.epoch, calls.n) < (s.trimmed_epoch, s.trimmed_n)"
        " ORDER BY epoch DESC, n DESC OFFSET $1 LIMIT 1) c",
        spare,
    )
    await months.drop_calls(pool, before_ms, spared)
    gone = 0
    for table in ("calls_before", "calls_other"):  # months go whole
        for shard, epoch, n in spared:
            done = await pool.execute(
                f"DELETE FROM {table} WHERE shard = $1 AND (epoch, n) < ($2, $3) AND at_ms < $4",
                shard,
                epoch,
                n,
                before_ms,
            )
            gone += int(done.split()[1])
    await heads.purge(pool, before_ms)
    return gone
