"""Enforcement jobs: what the network was told of which session, and what came of it (docs/enforcement.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from balances import keys
from ocs.backoffice.errors import Conflict, NotFound
from ocs.enforcement import job_rows
from ocs.enforcement.machine import TRANSITIONS, JobEvent

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

JobRow = Mapping[str, Any]
"""By the columns of the table."""

EVENTS = {"retry": JobEvent.RETRY, "cancel": JobEvent.CANCEL}


class WantedJobs(msgspec.Struct, frozen=True, kw_only=True):
    """Which are wanted; None: any."""

    account: str | None = None
    session: str | None = None
    """Its key, or its Session-Id as it is on the wire."""
    peer: str | None = None
    states: Sequence[str] | None = None
    before: tuple[int, str] = (2**62, "")
    """(made_ms, id) of the last one of the page before."""
    limit: int = 100


async def page(backoffice: BackOffice, wanted: WantedJobs) -> Sequence[JobRow]:
    """The newest first."""
    return await job_rows.page(
        backoffice.pool,
        wanted.before,
        wanted.limit,
        account=wanted.account,
        sessions=None if wanted.session is None else keys.session_keys_of(wanted.session),
        peer=wanted.peer,
        states=wanted.states,
    )


async def get(backoffice: BackOffice, id_: str) -> tuple[JobRow, Sequence[JobRow]]:
    """A job and its attempts."""
    row = await job_rows.get(backoffice.pool, id_)
    if row is None:
        raise NotFound(f"there is no job {id_}")
    return row, await job_rows.attempts_of(backoffice.pool, id_)


async def wish(backoffice: BackOffice, id_: str, what: Literal["retry", "cancel"], by: str) -> JobRow:
    """Ask the keeper to try a job again that has ended without effect, or to end an open one. It does so within a
    moment; while no keeper runs, later."""
    row, _ = await get(backoffice, id_)
    fit = [state for (state, event) in TRANSITIONS if event is EVENTS[what]]
    wished = await job_rows.wish(backoffice.pool, id_, what, by, fit) if row["state"] in fit else None
    if wished is None:
        raise Conflict(f"its state is {row['state']}: only one that is {' or '.join(fit)} can be asked to {what}")
    await backoffice.bounded(backoffice.store.link.command("PUBLISH", keys.NEWS_JOBS, b"").wait())
    return wished
