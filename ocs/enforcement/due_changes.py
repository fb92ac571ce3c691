"""What is due by time alone, in PostgreSQL: assignments that begin or end, and grades of tariffs at their instants.

Each step is one transaction: it locks what is due, makes one intent for each account concerned, and notes how far it
came. So it is done once by whichever keeper comes to it, and a keeper that is killed in between has done nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.intents import Intent, IntentId
from ocs.enforcement.due_kinds import DueKind

EPOCH: Final = 0
"""Of these intents; a shard's epoch is no less than the unix time of its opening."""
ASSIGNMENTS_AT_ONCE: Final = 500
ACCOUNTS_AT_ONCE: Final = 500
"""Looked at in one step for having the tariff: a step costs the same however few of all accounts do."""

_INTENTS: Final = (
    "INSERT INTO intents (shard, epoch, n, account, generation, kinds, session, crossed_ms)"
    " SELECT b.shard, $5, nextval('due_intents'), b.account, 0, ARRAY(SELECT jsonb_array_elements_text(b.kinds)), '',"
    " b.crossed_ms"
    " FROM unnest($1::smallint[], $2::text[], $3::jsonb[], $4::bigint[]) AS b(shard, account, kinds, crossed_ms)"
    " RETURNING shard, epoch, n, account, kinds, crossed_ms"
)


class GradeClock(NamedTuple):
    """A tariff, and the clock its grades change by: "" for its own."""

    tariff: str
    zone: str


NextChange = Callable[[GradeClock, int], int]
"""The first change after an instant; 0: none is known (tariffs/grade_changes.py)."""


class _Concerned(NamedTuple):
    account: str
    kinds: tuple[str, ...]
    at_ms: int


async def next_due_ms(pool: Any) -> int | None:
    """When something is due next; None: nothing is known to be."""
    found: int | None = await pool.fetchval(
        "SELECT least((SELECT min(due_ms) FROM assignments WHERE due_ms IS NOT NULL),"
        " (SELECT min(at_ms) FROM grade_changes WHERE at_ms IS NOT NULL))"
    )
    return found


async def expand_assignments(pool: Any, now_ms: int) -> list[Intent] | None:
    """Make the intents of some assignments whose begin or end has come, the earliest first; None when none is due. One
    that began and ended since is looked at once."""
    async with pool.acquire() as pg, pg.transaction():
        due = await pg.fetch(
            "SELECT a.subscriber, a.place, a.due_ms,"
            " ARRAY(SELECT account FROM paying p WHERE p.subscriber = a.subscriber) AS accounts"
            " FROM assignments a WHERE a.due_ms <= $1"
            " ORDER BY a.due_ms, a.subscriber, a.place LIMIT $2 FOR UPDATE OF a SKIP LOCKED",
            now_ms,
            ASSIGNMENTS_AT_ONCE,
        )
        if not due:
            return None
        await pg.execute(
            "UPDATE assignments a SET due_ms = CASE WHEN a.until_ms > $3 THEN a.until_ms END"
            " FROM unnest($1::text[], $2::integer[]) AS b(subscriber, place)"
            " WHERE a.subscriber = b.subscriber AND a.place = b.place",
            [row["subscriber"] for row in due],
            [row["place"] for row in due],
            now_ms,
        )
        kinds: defaultdict[str, set[DueKind]] = defaultdict(set)
        for row in due:
            for account in row["accounts"]:
                kinds[account].add(DueKind(row["due_ms"], row["subscriber"]))
        return await _intents(
            pg,
            [
                _Concerned(account, tuple(str(kind) for kind in sorted(each)), min(kind.since_ms for kind in each))
                for account, each in kinds.items()
            ],
        )


async def plan(pool: Any, clocks: Iterable[GradeClock], next_change: NextChange, now_ms: int) -> None:
    """Note the next change of each of these, which are all that there are. One that is due stays until it is done; one
    that is yet to come is replaced where the tariff has changed; one that was done does not come again, whatever the
    clock of this process says."""
    wanted = {clock: next_change(clock, now_ms) for clock in clocks}
    async with pool.acquire() as pg, pg.transaction():
        await pg.execute(
            "DELETE FROM grade_changes g WHERE NOT EXISTS ("
            "SELECT FROM unnest($1::text[], $2::text[]) AS b(tariff, zone)"
            " WHERE b.tariff = g.tariff AND b.zone = g.zone)",
            [clock.tariff for clock in wanted],
            [clock.zone for clock in wanted],
        )
        await pg.execute(
            "INSERT INTO grade_changes AS g (tariff, zone, at_ms, since_ms)"
            " SELECT tariff, zone, nullif(at_ms, 0), nullif(at_ms, 0)"
            " FROM unnest($1::text[], $2::text[], $3::bigint[]) AS b(tariff, zone, at_ms)"
            " ON CONFLICT (tariff, zone) DO UPDATE SET at_ms = EXCLUDED.at_ms, since_ms = EXCLUDED.since_ms"
            " WHERE (g.at_ms IS NULL OR g.at_ms > $4) AND g.at_ms IS DISTINCT FROM EXCLUDED.at_ms"
            " AND (EXCLUDED.at_ms IS NULL OR EXCLUDED.at_ms > g.told_ms)",
            [clock.tariff for clock in wanted],
            [clock.zone for clock in wanted],
            list(wanted.values()),
            now_ms,
        )


async def expand_grades(pool: Any, next_change: NextChange, now_ms: int) -> list[Intent] | None:
    """Make the intents of some accounts with a tariff whose grade changes, the earliest change first; None when none is
    due. A change that another one has followed by now is replaced by that."""
    async with pool.acquire() as pg, pg.transaction():
        row = await pg.fetchrow(
            "SELECT tariff, zone, at_ms, since_ms, reached FROM grade_changes WHERE at_ms <= $1"
            " ORDER BY at_ms, tariff, zone LIMIT 1 FOR UPDATE SKIP LOCKED",
            now_ms,
        )
        if row is None:
            return None
        clock, at_ms, reached = GradeClock(row["tariff"], row["zone"]), row["at_ms"], row["reached"]
        following_ms = next_change(clock, at_ms)
        while 0 < following_ms <= now_ms:
            at_ms, reached, following_ms = following_ms, "", next_change(clock, following_ms)
        part = await pg.fetch(
            "SELECT id, (time_zone = $3 OR $3 = '') AND EXISTS ("
            " SELECT FROM paying s JOIN assignments a ON a.subscriber = s.subscriber"
            " WHERE s.account = accounts.id AND a.tariff = $2 AND a.from_ms <= $4"
            " AND (a.until_ms = 0 OR a.until_ms > $4)) AS concerned"
            " FROM accounts WHERE id > $1 ORDER BY id LIMIT $5",
            reached,
            clock.tariff,
            clock.zone,
            now_ms,
            ACCOUNTS_AT_ONCE,
        )
        kinds = (str(DueKind(row["since_ms"])),)
        made = await _intents(pg, [_Concerned(one["id"], kinds, at_ms) for one in part if one["concerned"]])
        where = clock.tariff, clock.zone
        if len(part) == ACCOUNTS_AT_ONCE:
            await pg.execute(
                "UPDATE grade_changes SET at_ms = $3, reached = $4 WHERE tariff = $1 AND zone = $2",
                *where,
                at_ms,
                part[-1]["id"],
            )
        else:
            await pg.execute(
                "UPDATE grade_changes SET told_ms = $3, at_ms = nullif($4::bigint, 0),"
                " since_ms = nullif($4::bigint, 0), reached = '' WHERE tariff = $1 AND zone = $2",
                *where,
                at_ms,
                following_ms,
            )
        return made


async def _intents(pg: Any, concerned: Sequence[_Concerned]) -> list[Intent]:
    rows = await pg.fetch(
        _INTENTS,
        [keys.shard_of(one.account) for one in concerned],
        [one.account for one in concerned],
        [msgspec.json.encode(one.kinds).decode() for one in concerned],
        [one.at_ms for one in concerned],
        EPOCH,
    )
    return [Intent(IntentId(*row[:3]), row["account"], 0, frozenset(row["kinds"]), row["crossed_ms"]) for row in rows]


async def zones(pool: Any) -> list[str]:
    """All that accounts have: found one after the other by the index, of which there are few."""
    rows = await pool.fetch(
        "WITH RECURSIVE each(zone) AS ((SELECT time_zone FROM accounts ORDER BY time_zone LIMIT 1)"
        " UNION ALL SELECT (SELECT time_zone FROM accounts WHERE time_zone > each.zone ORDER BY time_zone LIMIT 1)"
        " FROM each WHERE each.zone IS NOT NULL) SELECT zone FROM each WHERE zone IS NOT NULL"
    )
    return [row["zone"] for row in rows]
