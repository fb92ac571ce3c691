"""After PostgreSQL was put back from a backup while the live store went on (durability.md rule 12).

All passes are void, every shard is opened anew (opening.py): what the streams still have is copied again, what they do
not is posted as `recovered`. Then what stands only in the live store, or follows from entries that are back, is
written again: answers under their keys, claims of vouchers, grants of refunds. All of it may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from balances import keys
from balances.ledger import granted
from balances.ledger.opening import Opened, OpeningRefused, ShardOpening
from balances.ledger.publication import void
from balances.ledger.reader import Client
from balances.ledger.record import fit
from balances.ledger.sync import NotOpen
from balances.ledger.writer import CursorMoved, Pool, Writer
from balances.packing import unpack_posted
from balances.redis.primaries import ALL, Primaries, Primary
from balances.structs.blob import blob_of
from balances.structs.record import Entry
from balances.structs.session import IdempotencyRecord

TRIES: Final = 60
WAIT_S: Final = 0.5
"""A worker that had a pass writes on until it looks at it again."""
AT_ONCE: Final = 500

_RECORD: Final = msgspec.msgpack.Decoder(IdempotencyRecord)


async def open_anew(primaries: Primaries, pool: Pool, now_s: Callable[[], int], alarm: Callable[[str], None]) -> Opened:
    """Void all passes and open every shard anew, primary by primary; requests get 3004 meanwhile. OpeningRefused, and
    NotOpen or CursorMoved when a store did not come to rest."""
    await primaries.look()
    there = primaries.all()
    if missing := ALL.difference(*(primary.shards for primary in there)):
        raise OpeningRefused(f"nobody has shard {min(missing)}, and {len(missing) - 1} more")
    for primary in there:
        await void(primary)
    opened = [await _open_one(primary, pool, now_s, alarm) for primary in there]
    return Opened(
        max(one.epoch for one in opened),
        opened[0].replid,
        sum(one.copied for one in opened),
        frozenset().union(*(one.forgotten for one in opened)),
        sum(one.orphaned for one in opened),
        sum(one.recovered for one in opened),
        sum(one.went_back for one in opened),
        ALL,
    )


async def _open_one(primary: Primary, pool: Pool, now_s: Callable[[], int], alarm: Callable[[str], None]) -> Opened:
    for tries_left in reversed(range(TRIES)):
        await void(primary)
        try:
            opening = ShardOpening(primary, pool, Writer(pool, alarm=alarm), alarm=alarm, trusted=True)
            return await opening.run(now_s(), anew=primary.shards)
        except (NotOpen, CursorMoved):
            if not tries_left:
                raise
        await asyncio.sleep(WAIT_S)
    raise AssertionError


async def bring_back_answers(redis: Client, pool: Pool, now_ms: int, *, dry_run: bool) -> int:
    """Answers of events and postings that only the live store has; returns how many. What is repeated after the live
    store has forgotten it is then still known."""
    some: list[str] = []
    found = 0
    async for key in redis.scan_iter(match="{s*}:once:*", count=1_000):
        some.append(key.decode())
        if len(some) == AT_ONCE:
            found += await _answers(redis, pool, some, now_ms, dry_run)
            some = []
    return found + await _answers(redis, pool, some, now_ms, dry_run)


async def _answers(redis: Client, pool: Pool, names: list[str], now_ms: int, dry_run: bool) -> int:
    """Those that PostgreSQL lacks, and those that a refund has changed since it knew them."""
    if not names:
        return 0
    rows = await pool.fetch(
        "SELECT account, key, state FROM once WHERE (account, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        *_columns([_named(name) for name in names]),
    )
    known = {(row["account"], row["key"]): row["state"] for row in rows}
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.get(name)
        pipe.pttl(name)
    replies = await pipe.execute()
    made, changed = [], []
    for name, packed, left_ms in zip(names, replies[::2], replies[1::2], strict=True):
        if packed is None or left_ms < 0:
            continue
        account, key = _named(name)
        if (account, key) not in known:
            fingerprint = fit(_RECORD.decode(packed).fingerprint)
            made.append((account, key, keys.shard_of(account), fingerprint, now_ms, now_ms + left_ms, packed))
        elif known[account, key] != packed:
            changed.append((account, key, packed))
    if not dry_run:
        await pool.executemany("UPDATE once SET state = $3 WHERE account = $1 AND key = $2", changed)
        await pool.executemany(
            "INSERT INTO once (account, key, shard, epoch, n, position, fingerprint, at_ms, until_ms, state, charged)"
            " VALUES ($1, $2, $3, 0, -1, 0, $4, $5, $6, $7, false) ON CONFLICT (account, key) DO NOTHING",
            made,
        )
    return len(made) + len(changed)


def _named(name: str) -> tuple[str, str]:
    """Account and once key, as PostgreSQL has them, of a key in Redis."""
    account, _, key = name.split(":once:", 1)[1].partition(" ")
    return fit(keys.text_of(account)), fit(key)


def _columns(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


# A voucher is credited once, whoever claims it: what was credited is claimed.
_CLAIMS: Final = """
INSERT INTO voucher_claims (batch, serial, account, source, reference, claimed_ms, claimed_by, request, fingerprint,
                            seq, credited_ms)
SELECT w.batch, w.serial, w.account, '', '', o.at_ms, 'recovery', 'recovery ' || w.key, '', e.seq, o.at_ms
  FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) AS w(batch, serial, account, key)
  JOIN once o ON o.account = w.account AND o.key = w.key
  JOIN vouchers v ON v.batch = w.batch AND v.serial = w.serial
  LEFT JOIN LATERAL (SELECT min(seq) AS seq FROM ledger_entries l
                      WHERE l.account = w.account AND l.epoch = o.epoch AND l.n = o.n) e ON true
    ON CONFLICT (batch, serial) DO NOTHING
"""


async def bring_back_claims(pool: Pool) -> int:
    """Claims of vouchers that were credited; returns how many were missing."""
    found, after = 0, ("", "")
    while rows := await pool.fetch(
        "SELECT account, key FROM once WHERE key >= 'voucher ' AND key < 'voucher!' AND (account, key) > ($1, $2)"
        " ORDER BY account, key LIMIT $3",
        *after,
        AT_ONCE,
    ):
        after = tuple(rows[-1])
        named = [(*voucher, row["account"], row["key"]) for row in rows if (voucher := keys.voucher_of(row["key"]))]
        found += int((await pool.execute(_CLAIMS, *_columns(named))).split()[2]) if named else 0
    return found


_GRANTS: Final = """
INSERT INTO refunds (account, request, fingerprint, session, incarnation, seq, amount)
SELECT e.account, e.request_key, '', COALESCE(u.session, ''), COALESCE(u.incarnation, 0), e.original_seq, e.amount
  FROM ledger_entries e
  JOIN ledger_entries o ON o.account = e.account AND o.seq = e.original_seq
  LEFT JOIN usage_records u ON u.account = o.account AND u.epoch = o.epoch AND u.n = o.n AND u.line = o.usage_line
 WHERE e.why = 'refund' AND e.amount > 0
   AND NOT EXISTS (SELECT FROM ledger_entries r WHERE r.original_account = e.account AND r.original_seq = e.seq)
    ON CONFLICT (account, request) DO NOTHING
"""


# Of refunds in a gap the answers say it; not of those that were taken back there too.
_ANSWERED: Final = """
    SELECT account, key, state FROM once o WHERE epoch = 0 AND n = -1 AND (account, key) > ($1, $2)
       AND starts_with(key, 'http ') ORDER BY account, key LIMIT $3
"""
_TAKEN_BACK: Final = """
    UPDATE refunds SET amount = 0, turned = NULL WHERE account = $1 AND request = $2
       AND EXISTS (SELECT FROM once WHERE account = $1 AND key = $3)
"""


async def bring_back_grants(pool: Pool) -> int:
    """Grants of refunds that were posted; returns how many were missing."""
    found, after = int((await pool.execute(_GRANTS)).split()[2]), ("", "")
    while rows := await pool.fetch(_ANSWERED, *after, AT_ONCE):
        after = (rows[-1]["account"], rows[-1]["key"])
        for row in rows:
            for entry in posted_entries(row["state"]):
                grant = granted.row_of(row["account"], row["key"], entry.amount, entry.terms)
                if entry.why != "refund" or grant is None:
                    continue
                async with pool.acquire() as pg, pg.transaction():
                    before = await pg.fetchval(_KNOWN, *grant[:2])
                    await granted.write(pg, [grant], [])
                    await pg.execute(_TAKEN_BACK, *grant[:2], keys.reversal_key(entry.seq))
                found += not before
    return found


_KNOWN: Final = "SELECT EXISTS (SELECT FROM refunds WHERE account = $1 AND request = $2)"


def posted_entries(packed: bytes) -> Sequence[Entry]:
    """Of the answer of a posting, packed; none of another one."""
    try:
        return unpack_posted(blob_of(_RECORD.decode(packed).outcome)).entries
    except msgspec.ValidationError:
        return ()
