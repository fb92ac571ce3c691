"""Why sessions of an account may have to be asked or ended, as one of its records says: an intent. Pure, but for the
rows of open ones.

An intent is written in the transaction that copies its record (durability.md rule 10). What the network has to be told
follows from the account as it is when somebody looks, so an intent may be looked at again, or late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from balances.structs.account import Account
from balances.structs.record import Record, Short
from balances.structs.thresholds import CrossingKind

COLUMNS: Final = ("shard", "epoch", "n", "account", "generation", "kinds", "session", "short", "crossed_ms")

SUSPENSIONS: Final = frozenset({CrossingKind.SUSPEND, CrossingKind.RESUME})
"""Kinds of crossings that change what the network may do; others are for people only."""


class IntentId(NamedTuple):
    """Of the record that gave it."""

    shard: int
    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.shard}-{self.epoch}-{self.n}"


class Intent(msgspec.Struct, frozen=True):
    """kinds: those of `Record.reauthorize`, and
    suspend, resume:  the account, or one of its services, crossed its line
    changed:          its generation was raised by something else
    """

    id: IntentId
    account: str
    generation: int
    kinds: frozenset[str]
    crossed_ms: int
    session: str = ""
    """Which made the record."""
    short: frozenset[Short] = frozenset()
    """Buckets others hold; the session itself is not asked for them."""


_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_SHORT: Final = msgspec.json.Decoder(list[Short])


def intent_of(shard: int, at: tuple[int, int], record: Record, account_state: bytes | None) -> Intent | None:
    """None for a record that asks nothing of the network, as most do. at: its RecordId."""
    if not record.reauthorize and not record.threshold_events and not record.generation:
        return None
    kinds = {*record.reauthorize, *(one.kind for one in record.threshold_events if one.kind in SUSPENSIONS)}
    if "resume" in kinds:
        kinds.add("final")
    if not kinds and record.generation:
        kinds.add("changed")
    if not kinds:
        return None
    generation = record.generation
    if not generation and account_state is not None:
        generation = _ACCOUNT.decode(account_state).generation
    return Intent(
        IntentId(shard, *at),
        record.account,
        generation,
        frozenset(kinds),
        record.at_ms,
        record.session,
        frozenset(record.short if "holder" in kinds else ()),
    )


def row_of(intent: Intent, account: str, session: str) -> tuple[Any, ...]:
    """The columns above. account, session: as PostgreSQL keeps them (`fit`)."""
    short = sorted(intent.short, key=lambda one: (one.bucket, one.kind, one.counter))
    return (
        *intent.id,
        account,
        intent.generation,
        sorted(intent.kinds),
        session,
        msgspec.json.encode(short).decode() if short else None,
        intent.crossed_ms,
    )


async def unexpanded(pool: Any, older_than_s: float, limit: int) -> Sequence[Intent]:
    """Intents nobody has looked at, the oldest first."""
    rows = await pool.fetch(
        "SELECT shard, epoch, n, account, generation, kinds, session, short, crossed_ms FROM intents"
        " WHERE jobs IS NULL AND at <= now() - make_interval(secs => $1) ORDER BY at LIMIT $2",
        older_than_s,
        limit,
    )
    return [
        Intent(
            IntentId(shard, epoch, n),
            account,
            generation,
            frozenset(kinds),
            crossed_ms,
            session,
            frozenset(_SHORT.decode(short)) if short else frozenset(),
        )
        for shard, epoch, n, account, generation, kinds, session, short, crossed_ms in rows
    ]


async def expanded(pg: Any, jobs: dict[IntentId, int]) -> set[IntentId]:
    """Write how many jobs came of each; one of which none came is not kept. Returns those that stood there: others are
    not copied yet."""
    rows = await pg.fetch(
        "UPDATE intents SET jobs = b.jobs FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::integer[])"
        " AS b(shard, epoch, n, jobs) WHERE intents.shard = b.shard AND intents.epoch = b.epoch AND intents.n = b.n"
        " RETURNING intents.shard, intents.epoch, intents.n",
        [one.shard for one in jobs],
        [one.epoch for one in jobs],
        [one.n for one in jobs],
        list(jobs.values()),
    )
    found = {IntentId(*row) for row in rows}
    await pg.execute(
        "DELETE FROM intents USING unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS b(shard, epoch, n)"
        " WHERE intents.shard = b.shard AND intents.epoch = b.epoch AND intents.n = b.n AND jobs = 0",
        [one.shard for one in found],
        [one.epoch for one in found],
        [one.n for one in found],
    )
    return found
