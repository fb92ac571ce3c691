"""Usage records with the entries that paid them, read for rating them again: in the order of charging, account by
account, in parts that several processes share.

The tables are read by time (brin) and sorted here, in the server: an index on the account would be read at random, once
for every record.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import msgspec

from balances import keys, postgres
from balances.ledger.kept import NotKept, entries_since, kept, usage_since
from balances.ledger.writer import AWAY
from balances.structs.account import Account

COLUMNS: Final = (
    "account", "epoch", "n", "line", "shard", "currency", "subscriber", "session", "service", "phase", "at_ms",
    "rating_group", "service_id", "secondary", "unit", "used", "suspense", "total", "cost", "granted", "result", "tag",
    "terms", "ladder", "counters", "inputs", "incarnation",
)  # fmt: skip
PAID: Final = ("seq", "bucket", "kind", "amount", "after")
"""Of an entry; NULL where nothing was paid."""

KEY: Final = 4
"""So many columns name a usage record."""
PAID_AT: Final = len(COLUMNS)
"""Where the columns of the entry begin."""

ROWS: Final = 2_000
"""Read at a time."""

WORK_MEM: Final = "128MB"

LATE_MS: Final = 8 * 86_400_000
"""An event is charged at most so long after it happened ..."""
EARLY_MS: Final = 3_600_000
"""... and at most so long before, by our clock (charging.md section 6: seven days, five minutes)."""

WHY: Final = "rerate"
"""Of the entries that correct."""

Row = Sequence[Any]
Piece = tuple[Row, Sequence[Row]]
"""A usage record with its first entry, and the entries after that."""
NO_MORE: Final[Sequence[Row]] = ()

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)


class Unreachable(Exception):
    """PostgreSQL cannot be asked; the text is meant for the operator."""


class UsageWindow(msgspec.Struct, frozen=True):
    """Which usage records."""

    from_ms: int
    to_ms: int
    """Half open, by the instant of use."""
    account: str = ""
    subscriber: str = ""
    service: str = ""
    """"" for all."""
    part: int = 0
    parts: int = 1
    """Of so many parts of all accounts, this one."""


_WHERE: Final = """
    u.at_ms >= $1::bigint AND u.at_ms < $2::bigint AND (u.used <> 0 OR u.granted > 0 OR u.cost <> 0)
    AND ($3::text = '' OR u.account = $3) AND ($4::text = '' OR u.subscriber = $4) AND ($5::text = '' OR u.service = $5)
"""


def _texts(columns: Iterable[str]) -> str:
    """As they are read; the cost is without prices of buckets, which no tariff changes."""
    read = {"counters": "u.counters::text", "inputs": "u.inputs::text", "cost": "u.cost - u.priced AS cost"}
    return ", ".join(read.get(name, f"u.{name}") for name in columns)


_PIECES: Final = f"""
SELECT {_texts(COLUMNS)}, {", ".join(f"e.{name}" for name in PAID)}
  FROM usage_records u
  LEFT JOIN ledger_entries e
    ON e.account = u.account AND e.epoch = u.epoch AND e.n = u.n AND e.usage_line = u.line
   AND e.at_ms >= $1::bigint - {EARLY_MS} AND e.at_ms < $2::bigint + {LATE_MS}
   AND e.shard >= $6::smallint AND e.shard < $7::smallint
 WHERE {_WHERE} AND u.shard >= $6::smallint AND u.shard < $7::smallint
 ORDER BY u.account, u.epoch, u.n, u.line, e.seq
"""


@asynccontextmanager
async def connect(dsn: str, wait_s: float = 10.0) -> AsyncIterator[Any]:
    """A connection that reads one state of the tables for as long as it lives."""
    try:
        pg = await postgres.connect(dsn, timeout=wait_s, server_settings={"application_name": "ocs rerating"})
    except (*AWAY, TimeoutError, ValueError, asyncpg.PostgresError) as why:
        raise Unreachable(f"PostgreSQL cannot be reached: {str(why) or type(why).__name__}") from None
    try:
        async with pg.transaction(isolation="repeatable_read", readonly=True):
            await pg.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
            await pg.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # the parts are parallel already
            await pg.execute("SET LOCAL jit = off")
            await pg.execute("SET LOCAL enable_nestloop = off")  # never for every record, whatever the statistics say
            yield pg
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as why:
        raise Unreachable(f"PostgreSQL: {str(why) or type(why).__name__}") from why
    finally:
        await pg.close()


def _asked(window: UsageWindow) -> tuple[Any, ...]:
    return window.from_ms, window.to_ms, window.account, window.subscriber, window.service


async def check_kept(pg: Any, window: UsageWindow) -> None:
    """Raises NotKept: usage of the window, or an entry that paid some, was dropped."""
    entries_from_ms, usage_from_ms = await kept(pg)
    if window.from_ms < usage_from_ms:
        raise NotKept(f"{usage_since(usage_from_ms)}: nothing before that is rated again")
    if entries_from_ms and window.from_ms - EARLY_MS < entries_from_ms:  # use may be posted before its time
        raise NotKept(f"{entries_since(entries_from_ms)}: use is rated again from an hour later on")


async def set_aside(pg: Any, window: UsageWindow) -> int:
    """Usage records of which something was not charged: nothing priced it, so nothing is rated again."""
    return int(
        await pg.fetchval(
            "SELECT count(*) FROM usage_records u WHERE u.at_ms >= $1::bigint AND u.at_ms < $2::bigint"
            " AND u.set_aside <> 0 AND ($3::text = '' OR u.account = $3) AND ($4::text = '' OR u.subscriber = $4)"
            " AND ($5::text = '' OR u.service = $5)",
            *_asked(window),
        )
    )


async def expected(pg: Any, window: UsageWindow) -> int:
    """About how many usage records all parts have: what the planner believes."""
    query = f"EXPLAIN (FORMAT JSON) SELECT FROM usage_records u WHERE {_WHERE}"
    plan = msgspec.json.decode(await pg.fetchval(query, *_asked(window)))
    return int(plan[0]["Plan"]["Plan Rows"])


async def stream(pg: Any, window: UsageWindow) -> AsyncIterator[list[Piece]]:
    """The records of one part, some at a time: the columns above, then those of the entry."""
    shards = (keys.SHARDS * part // window.parts for part in (window.part, window.part + 1))
    cursor = await pg.cursor(_PIECES, *_asked(window), *shards)
    pieces: list[Piece] = []
    while found := await cursor.fetch(ROWS):
        for row in found:
            if pieces and row[PAID_AT] is not None and pieces[-1][0][:KEY] == row[:KEY]:
                first, more = pieces[-1]
                pieces[-1] = first, (*more, row[PAID_AT:])
            else:
                pieces.append((row, NO_MORE))
        # What comes next may be one more entry of the last record.
        last = pieces.pop()
        if pieces:
            yield pieces
        pieces = [last]
    if pieces:
        yield pieces


# --- what the records themselves do not say


async def ladders(pg: Any, hashes: Iterable[bytes]) -> Sequence[tuple[bytes, bytes]]:
    """(hash, packed)"""
    found = await pg.fetch("SELECT hash, packed FROM ladders WHERE hash = ANY($1)", list(hashes))
    return [tuple(row) for row in found]


_GRANTS: Final = """
SELECT w.i, g.at_ms, g.rating_group, g.service_id, g.inputs, g.ladder, g.unit, c.event_ms
  FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[], $7::bigint[],
              $8::smallint[])
       WITH ORDINALITY AS w(account, epoch, n, session, incarnation, rating_group, service_id, secondary, i)
 CROSS JOIN LATERAL (
    SELECT u.shard, u.epoch, u.n, u.at_ms, u.rating_group, u.service_id, u.inputs::text AS inputs, u.ladder, u.unit
      FROM usage_records u
     WHERE u.account = w.account AND (u.epoch, u.n) < (w.epoch, w.n) AND u.session = w.session
       AND u.incarnation = w.incarnation
       AND u.rating_group = w.rating_group AND (u.service_id = w.service_id OR w.service_id < 0)
       AND u.secondary = w.secondary
       AND u.granted > 0
     ORDER BY u.epoch DESC, u.n DESC, u.line DESC LIMIT 1) g
  LEFT JOIN calls c ON c.shard = g.shard AND c.epoch = g.epoch AND c.n = g.n
"""


async def grants(pg: Any, lines: Sequence[tuple[Any, ...]]) -> dict[int, Row]:
    """The last grant of a line before a call: place in `lines` -> instant, rating group, service identifier, inputs,
    ladder, unit.

    lines:  (account, epoch, n, session, incarnation, rating group, service identifier, secondary)
    """
    found = await pg.fetch(_GRANTS, *(list(column) for column in zip(*lines, strict=True)))
    return {row[0] - 1: (row[1] if row[7] is None else row[7], *row[2:7]) for row in found}


_ORIGINALS: Final = """
SELECT w.i, o.epoch, o.n
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w(shard, epoch, n, i)
  JOIN calls r ON r.shard = w.shard AND r.epoch = w.epoch AND r.n = w.n AND r.refund_of IS NOT NULL
  JOIN once o ON o.account = r.account AND o.key = r.refund_of AND (o.epoch, o.n) < (r.epoch, r.n)
"""


async def originals(pg: Any, calls: Sequence[tuple[int, int, int]]) -> dict[int, tuple[int, int]]:
    """Which event a call gave back of: place in `calls` -> (epoch, n). Known for as long as calls are kept,
    of an event after which no other one had its key.

    calls:  (shard, epoch, n)
    """
    found = await pg.fetch(_ORIGINALS, *(list(column) for column in zip(*calls, strict=True)))
    return {row[0] - 1: (row[1], row[2]) for row in found}


async def instants(pg: Any, calls: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """When calls were made, by their own word: place in `calls` -> Unix milliseconds. For as long as calls are kept."""
    query = (
        "SELECT w.i, c.event_ms FROM unnest($1::smallint[], $2::bigint[], $3::bigint[])"
        " WITH ORDINALITY AS w(shard, epoch, n, i) JOIN calls c USING (shard, epoch, n)"
    )
    found = await pg.fetch(query, *(list(column) for column in zip(*calls, strict=True)))
    return {row[0] - 1: row[1] for row in found}


async def any_corrected(pg: Any) -> bool:
    return bool(await pg.fetchval("SELECT EXISTS (SELECT FROM ledger_entries WHERE why = $1)", WHY))


async def corrected(pg: Any, accounts: Iterable[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """What usage records were corrected by: (account, reference) -> (money that entered the account, how often)."""
    found = await pg.fetch(
        "SELECT account, reference, sum(amount)::bigint, count(*) FROM ledger_entries"
        " WHERE why = 'rerate' AND account = ANY($1) GROUP BY account, reference",
        list(accounts),
    )
    return {(account, reference or ""): (amount, times) for account, reference, amount, times in found}


_LIMITS: Final = """
SELECT w.account, h.state, a.credit_limit
  FROM unnest($1::text[]) AS w(account)
  LEFT JOIN account_heads h ON h.account = w.account
  LEFT JOIN accounts a ON a.id = w.account
"""


async def limits(pg: Any, accounts: Iterable[str]) -> dict[str, int]:
    """Credit limits of today, micro-units."""
    found: dict[str, int] = {}
    for account, packed, as_opened in await pg.fetch(_LIMITS, list(accounts)):
        found[account] = _ACCOUNT.decode(packed).credit_limit if packed is not None else as_opened or 0
    return found


_BALANCES: Final = """
SELECT w.account, b.bucket, b.after
  FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w(account, epoch, n)
 CROSS JOIN LATERAL (
    SELECT DISTINCT ON (bucket) bucket, after FROM (
        SELECT bucket, after, seq FROM kept_entries e
         WHERE e.account = w.account AND e.kind = 0 AND (e.epoch, e.n) < (w.epoch, w.n)
        UNION ALL SELECT bucket, after, seq FROM ledger_brought r WHERE r.account = w.account AND r.kind = 0) parts
     ORDER BY bucket, seq DESC) b
"""


async def balances(pg: Any, at: Mapping[str, tuple[int, int]]) -> dict[str, dict[int, int]]:
    """Money of accounts before a call: account -> bucket -> micro-units."""
    found: dict[str, dict[int, int]] = {account: {} for account in at}
    calls = [(account, epoch, n) for account, (epoch, n) in at.items()]
    for account, bucket, after in await pg.fetch(_BALANCES, *(list(column) for column in zip(*calls, strict=True))):
        found[account][bucket] = after
    return found
