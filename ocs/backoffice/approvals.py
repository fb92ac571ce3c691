"""What the configuration lets nobody do alone: it waits until another person approves it, then it is done once, as who
asked for it (docs/access.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ocs.access import approvals
from ocs.access.approvals import Approval, ApprovalState
from ocs.access.overdue import tell_decided
from ocs.access.roles import Authority, authority_of
from ocs.backoffice.errors import Conflict, Forbidden, KeyReused, NotFound
from ocs.events.outbox import emit
from ocs.events.types import ApprovalRequested

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

BEING_DONE_MS: Final = 60_000
"""So long after an approval nobody else begins to do it."""
AGAIN_MS: Final = 29 * 86_400_000
"""So long after it was asked for it may be tried again: a day later its Idempotency-Key is forgotten, and it would be
done twice."""


class Executed(NamedTuple):
    """What a request was answered with."""

    status: int
    answer: bytes


Execute = Callable[[Approval, Authority], Awaitable[Executed]]
"""Does what was asked, as who asked it. Raises where nobody knows whether it was done: then it may be tried again."""


async def ask(backoffice: BackOffice, wanted: Approval) -> Approval:
    """Put it on the list. The same again, under the same key, is what is there already."""
    async with backoffice.pool.acquire() as pg, pg.transaction():
        if await approvals.ask(pg, wanted):
            told = ApprovalRequested(wanted.id, wanted.caller, wanted.permission, wanted.target)
            await emit(pg, "approval.requested", told, at_ms=wanted.asked_ms, key=wanted.id, subject=wanted.id)
            return wanted
    found = await approvals.of_key(backoffice.pool, wanted.caller, wanted.key)
    if found is None:
        raise Conflict("it was asked for twice at once: try again")
    if found.fingerprint != wanted.fingerprint:
        raise KeyReused
    return found


async def get(backoffice: BackOffice, id_: str, who: Authority) -> Approval:
    """Everybody sees what he asked for; others need a permission."""
    found = await approvals.get(backoffice.pool, id_)
    if found is None or not (found.caller == who.caller or who.may("approvals.read")):
        raise NotFound(f"there is no approval {id_}")
    return found


async def page(
    backoffice: BackOffice, state: ApprovalState | None, after: tuple[int, str], limit: int
) -> Sequence[Approval]:
    return await approvals.page(backoffice.pool, state, after, limit)


async def approve(
    backoffice: BackOffice,
    id_: str,
    who: Authority,
    reason: str,
    execute: Execute,
    *,
    repeatable: Callable[[str], bool],
) -> Approval:
    """Approve it and do it, as who asked for it.

    repeatable: whether an operation of that name does the same however often it is done
    """
    now_ms = backoffice.now_ms()
    async with backoffice.pool.acquire() as pg, pg.transaction():
        found = await _decidable(pg, id_, who, now_ms, but=who.caller)
        if found.state == "approved":  # by somebody, whose process may have ended before it was done
            if now_ms - found.decided_ms < BEING_DONE_MS:
                raise Conflict("it is being done")
            if now_ms - found.asked_ms > AGAIN_MS or not repeatable(found.operation):
                raise Conflict("it was being done when a process ended: see whether it was, and reject it")
        found = await approvals.decide(pg, id_, "approved", who.caller, reason, now_ms)
        await tell_decided(pg, found)
    authority = authority_of(
        found.caller,
        found.roles,
        backoffice.roles,
        scopes=found.scopes,
        address=found.address,
        credential=f"approval {id_}",
    )
    done = await execute(found, authority)
    return await approvals.finish(backoffice.pool, id_, done.status, done.answer)


async def reject(backoffice: BackOffice, id_: str, who: Authority, reason: str) -> Approval:
    """It will not be done. Who asked for it may take it back like this."""
    now_ms = backoffice.now_ms()
    async with backoffice.pool.acquire() as pg, pg.transaction():
        found = await _decidable(pg, id_, who, now_ms)
        if found.state == "approved" and now_ms - found.decided_ms < BEING_DONE_MS:
            raise Conflict("it is being done")
        found = await approvals.decide(pg, id_, "rejected", who.caller, reason, now_ms)
        await tell_decided(pg, found)
    return found


async def _decidable(pg: object, id_: str, who: Authority, now_ms: int, but: str | None = None) -> Approval:
    found = await approvals.get(pg, id_, lock=True)
    if found is None:
        raise NotFound(f"there is no approval {id_}")
    own = found.caller == who.caller
    if own and but is not None:
        raise Forbidden("another person has to approve it")
    if not own and not who.may("approvals.decide"):
        raise Forbidden(f"{who.caller} lacks the permission approvals.decide")
    if not who.may(found.permission):
        raise Forbidden(f"{who.caller} lacks the permission {found.permission} himself")
    if found.state == "pending" and found.expires_ms <= now_ms:
        raise Conflict("nobody decided it in time")
    if found.state not in ("pending", "approved"):
        raise Conflict(f"it is {found.state} already")
    return found
