"""Jobs and attempts in PostgreSQL: written behind the keeper's work, read by people and by a keeper that comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from balances.ledger.intents import Intent, IntentId, expanded, unexpanded
from balances.ledger.record import fit
from ocs.enforcement.book import AttemptRow
from ocs.enforcement.job import Cause, NetworkAction, NetworkJob
from ocs.enforcement.machine import JobState
from ocs.events.outbox import emit
from ocs.events.types import JobFailed

COLUMNS: Final = (
    "id", "shard", "epoch", "n", "session", "incarnation", "account", "subscriber", "service", "peer", "cause",
    "action", "generation", "state", "why", "attempts", "result", "touched_ms", "bound_micro", "used_micro",
    "crossed_ms", "made_ms", "due_ms", "sent_ms", "acknowledged_ms", "effective_ms", "ended_ms",
)  # fmt: skip
WISHES_MAX: Final = 1_000
_FIXED: Final = 10
"""The first of them never change."""

_SAVE: Final = (
    f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES ({', '.join(f'${n}' for n in range(1, len(COLUMNS) + 1))})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{one} = EXCLUDED.{one}' for one in COLUMNS[_FIXED:])}"
)
_SAVE_ATTEMPT: Final = (
    "INSERT INTO job_attempts (job, number, action, at_ms, ended_ms, result, host, by)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    " ON CONFLICT (job, number) DO UPDATE SET action = EXCLUDED.action, at_ms = EXCLUDED.at_ms,"
    " ended_ms = EXCLUDED.ended_ms, result = EXCLUDED.result, host = EXCLUDED.host, by = EXCLUDED.by"
)

TOLD: Final = (JobState.FAILED, JobState.GIVEN_UP)
"""What the world is told of (docs/events.md)."""

JobRow = Mapping[str, Any]
"""By the columns of the table."""


def _values(job: NetworkJob) -> tuple[Any, ...]:
    return (
        job.id, *job.intent, job.session, job.incarnation, job.account, fit(job.subscriber), fit(job.service),
        fit(job.peer), job.cause, job.action, job.generation, job.state, job.why, job.attempts, job.result,
        job.touched_ms, job.bound_micro, job.used_micro, job.crossed_ms, job.made_ms, job.due_ms, job.sent_ms,
        job.acknowledged_ms, job.effective_ms, job.ended_ms,
    )  # fmt: skip


def job_of(row: JobRow) -> NetworkJob:
    return NetworkJob(
        id=row["id"],
        intent=IntentId(row["shard"], row["epoch"], row["n"]),
        session=row["session"],
        incarnation=row["incarnation"],
        account=row["account"],
        subscriber=row["subscriber"],
        service=row["service"],
        peer=row["peer"],
        cause=Cause(row["cause"]),
        action=NetworkAction(row["action"]),
        generation=row["generation"],
        touched_ms=row["touched_ms"],
        bound_micro=row["bound_micro"],
        crossed_ms=row["crossed_ms"],
        made_ms=row["made_ms"],
        due_ms=row["due_ms"],
        state=JobState(row["state"]),
        why=row["why"],
        attempts=row["attempts"],
        result=row["result"],
        used_micro=row["used_micro"],
        sent_ms=row["sent_ms"],
        acknowledged_ms=row["acknowledged_ms"],
        effective_ms=row["effective_ms"],
        ended_ms=row["ended_ms"],
    )


async def tell_of(pg: Any, job: NetworkJob) -> None:
    """Once for each time it failed: a person may have it tried again."""
    what = JobFailed(
        job.id, job.action, job.account, fit(job.session), fit(job.peer), job.attempts, job.result or job.why
    )
    await emit(
        pg,
        "job.failed",
        what,
        at_ms=job.ended_ms or 0,
        key=f"{job.id}-{job.attempts}",
        subject=job.id,
        account=job.account,
        service=job.service,
    )


class JobTable:
    """As the keeper uses them."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def save(
        self, jobs: Sequence[NetworkJob], attempts: Sequence[AttemptRow], looked: dict[IntentId, int]
    ) -> set[IntentId]:
        """Write what has changed, and the intents that were looked at, in one transaction: a keeper that comes next
        finds either an intent to look at, or its jobs. Returns the intents that stood there."""
        async with self._pool.acquire() as pg, pg.transaction():
            if jobs:
                await pg.executemany(_SAVE, [_values(job) for job in jobs])
            if attempts:
                await pg.executemany(
                    _SAVE_ATTEMPT, [(*one[:5], fit(one.result), fit(one.host), fit(one.by)) for one in attempts]
                )
            for job in jobs:
                if job.state in TOLD:
                    await tell_of(pg, job)
            return await expanded(pg, looked) if looked else set()

    async def open_jobs(self, but: Sequence[str], limit: int) -> list[NetworkJob]:
        """Those that are open, the oldest first, without those named."""
        rows = await self._pool.fetch(
            "SELECT * FROM jobs WHERE ended_ms IS NULL AND id <> ALL($1::text[]) ORDER BY made_ms, id LIMIT $2",
            but,
            limit,
        )
        return [job_of(row) for row in rows]

    async def unexpanded(self, older_than_s: float, limit: int) -> Sequence[Intent]:
        return await unexpanded(self._pool, older_than_s, limit)

    async def wishes(self) -> list[tuple[NetworkJob, str, str]]:
        """Jobs people want something of: what, and who."""
        rows = await self._pool.fetch("SELECT * FROM jobs WHERE wish <> '' ORDER BY id LIMIT $1", WISHES_MAX)
        return [(job_of(row), row["wish"], row["wished_by"]) for row in rows]

    async def heard(self, ids: Sequence[str]) -> None:
        """Their wishes were looked at."""
        await self._pool.execute("UPDATE jobs SET wish = '' WHERE id = ANY($1)", ids)

    async def purge(self, kept_s: int, now_ms: int) -> None:
        """Forget jobs that ended so long ago, and the intents of such."""
        before_ms = now_ms - kept_s * 1_000
        await self._pool.execute("DELETE FROM jobs WHERE ended_ms < $1", before_ms)
        await self._pool.execute(
            "DELETE FROM intents WHERE jobs IS NOT NULL AND at < to_timestamp($1 / 1000.0)", before_ms
        )


# --- people


async def wish(pool: Any, id_: str, what: str, by: str, states: Sequence[str]) -> JobRow | None:
    """Ask the keeper to `retry` or `cancel` a job in one of these states; None: it is in another one."""
    row: JobRow | None = await pool.fetchrow(
        "UPDATE jobs SET wish = $2, wished_by = $3 WHERE id = $1 AND state = ANY($4) RETURNING *",
        id_,
        what,
        by,
        list(states),
    )
    return row


async def get(pool: Any, id_: str) -> JobRow | None:
    row: JobRow | None = await pool.fetchrow("SELECT * FROM jobs WHERE id = $1", id_)
    return row


async def attempts_of(pool: Any, id_: str) -> Sequence[JobRow]:
    rows: Sequence[JobRow] = await pool.fetch("SELECT * FROM job_attempts WHERE job = $1 ORDER BY number", id_)
    return rows


async def page(
    pool: Any,
    before: tuple[int, str],
    limit: int,
    *,
    account: str | None = None,
    sessions: Sequence[str] | None = None,
    peer: str | None = None,
    states: Sequence[str] | None = None,
) -> Sequence[JobRow]:
    """The newest first, those before (made_ms, id)."""
    rows: Sequence[JobRow] = await pool.fetch(
        "SELECT * FROM jobs WHERE (made_ms, id) < ($1, $2) AND ($3::text IS NULL OR account = $3)"
        " AND ($4::text[] IS NULL OR session = ANY($4)) AND ($5::text IS NULL OR lower(peer) = lower($5))"
        " AND ($6::text[] IS NULL OR state = ANY($6)) ORDER BY made_ms DESC, id DESC LIMIT $7",
        *before,
        account,
        None if sessions is None else list(sessions),
        peer,
        None if states is None else list(states),
        limit,
    )
    return rows
