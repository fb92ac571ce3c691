"""Which sessions of an account the network has to be told about, and what is done about each. Pure.

It looks at the account and its sessions as they are, and not at what a record said: whoever looks again, late or
after a crash, comes to what is needed then (durability.md rule 10).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from balances.ledger.supervision import holders
from balances.packing import unpack_ladder
from balances.structs.account import REFUSING, Account, SuspendReasons
from balances.structs.blob import blob_of
from balances.structs.record import Short
from balances.structs.session import Line, Session, SessionState, waits_for_money
from ocs.enforcement.job import ENDING, RESTRICTIVE, Cause, NetworkAction, is_radius
from tariffs.units import Kind

MEMBER_KIND: Final = "members"
DEPLETED_KIND: Final = "depleted"
REPLACED_KIND: Final = "replaced "
"""In front of the session that another one took the place of."""


Use = tuple[str, str]
"""A subscriber and a service."""


class Wanted(NamedTuple):
    """What one session needs."""

    session: Session
    cause: Cause
    action: NetworkAction


class NetworkPolicy(NamedTuple):
    """
    on_suspend:  action by service, as the rows of services say (ocs/charging/services.py)
    ends_at_once:  whether a client (Origin-Host) never comes back after a RAR, so that it is not asked
    extends:       whether the client of a session takes another end of it, as more money gives it
    """

    on_suspend: Mapping[str, NetworkAction]
    ends_at_once: Callable[[str], bool]
    extends: Callable[[Session], bool] = lambda _session: False

    def action(self, cause: Cause, session: Session) -> NetworkAction:
        wanted = NetworkAction.REAUTHORIZE
        if cause is Cause.REPLACED:
            return NetworkAction.DISCONNECT
        if cause in (Cause.SUSPENDED, Cause.DEPLETED):
            wanted = self.on_suspend.get(session.service, NetworkAction.REAUTHORIZE)
        elif cause is Cause.MEMBERS:
            # It is asked to report, if the service does nothing harder; one of RADIUS would go on, and is ended
            # (charging.md section 19).
            hard = self.on_suspend.get(session.service)
            soft = NetworkAction.DISCONNECT if is_radius(session.peer) else NetworkAction.REAUTHORIZE
            wanted = hard if hard in (NetworkAction.ABORT, NetworkAction.DISCONNECT) else soft
        if wanted is NetworkAction.REAUTHORIZE and self.ends_at_once(session.peer):
            wanted = NetworkAction.ABORT if cause in RESTRICTIVE else NetworkAction.NOTHING
        if wanted in ENDING and not may_be_ended(session):  # it may be an emergency call: who reports is told
            return NetworkAction.REAUTHORIZE
        return wanted


def is_free(line: Line) -> bool:
    """Whether its price is 0 by its tariff: it is served under credit suspension (charging.md section 5). A line whose
    maximum charge is reached costs nothing more, and is not free."""
    packed = blob_of(line.ladder)
    if line.hold or not packed:
        return not line.hold
    ladder = unpack_ladder(packed)
    dues = any(due.fee or due.least or due.most for due in ladder.dues)
    return not dues and all(not step.price for step in ladder.steps)


def is_only_recorded(session: Session) -> bool:
    """Whether its client runs it, reports what it costs and is granted nothing: one of RADIUS without our Class
    (charging.md section 8). Nothing of it says what is free but that it has cost no money, and waits for none."""
    if not is_radius(session.peer) or session.token or any(line.due_ms for line in session.lines):
        return False
    return any(line.debited or line.final for line in session.lines)


def is_suspended(account: Account, session: Session) -> bool:
    """Whether it holds, or uses without being asked, what it would not be granted now, because its account or its
    service is suspended. Of a closed account every session ends, whatever it holds (charging.md section 16)."""
    if account.state & SuspendReasons.CLOSED:
        return True
    if account.state & REFUSING:
        return any(line.due_ms for line in session.lines) or is_only_recorded(session)
    own = next((one for one in account.services if one.service == session.service), None)
    short = account.state & SuspendReasons.CREDIT if own is None else own.suspended_ms
    short = short or account.state & SuspendReasons.FEE
    costs = any(line.due_ms and not is_free(line) for line in session.lines)
    return bool(short) and (costs or is_only_recorded(session))


def is_depleted(account: Account, session: Session, kinds: Collection[str] = ()) -> bool:
    """Whether it goes on without money: one of RADIUS that waits for it and holds none. What is left of a balance
    may be too little to be of use; who says so is the store."""
    if not is_radius(session.peer) or not any(waits_for_money(line) for line in session.lines):
        return False
    return not has_funds(account) or (DEPLETED_KIND in kinds and "final" not in kinds)


def has_funds(account: Account) -> bool:
    """Whether something can be held still, of whatever kind."""
    money = sum(one.amount - one.held for one in account.buckets if one.kind == Kind.MONEY) + account.credit_limit
    return money > 0 or any(one.amount > one.held for one in account.buckets if one.kind != Kind.MONEY)


def may_be_ended(session: Session) -> bool:
    """Not one that uses only what is free, as an emergency call does."""
    served = [line for line in session.lines if line.due_ms]
    goes_on = not served and is_radius(session.peer) and any(line.final for line in session.lines)
    return goes_on or any(not is_free(line) for line in served) or is_only_recorded(session)


def wanted_of(
    account: Account,
    sessions: Iterable[Session],
    kinds: Collection[str],
    policy: NetworkPolicy,
    *,
    gone: Collection[Use] = (),
    short: Collection[Short] = (),
    asker: str = "",
    due: Collection[str] = (),
) -> list[Wanted]:
    """What the open sessions need; none that needs nothing.

    kinds:  those of the intents (balances/ledger/intents.py)
    gone:   uses that the account pays for no more
    short:  what others hold and `asker` lacks
    due:    sessions that are told of what time changed (due_sessions.py)
    """
    open_ones = [one for one in sessions if one.state == SessionState.OPEN]
    asked = {one.id for one in holders(open_ones, short, but=(asker,))} if short else set()
    found = []
    for session in open_ones:
        cause = _cause(account, session, kinds, gone, asked, due, policy.extends)
        if cause is not None:
            action = policy.action(cause, session)
            if action is not NetworkAction.NOTHING:
                found.append(Wanted(session, cause, action))
    return found


def _cause(
    account: Account,
    session: Session,
    kinds: Collection[str],
    gone: Collection[Use],
    asked: Collection[str],
    due: Collection[str],
    extends: Callable[[Session], bool],
) -> Cause | None:
    if is_suspended(account, session):
        return Cause.SUSPENDED
    if is_depleted(account, session, kinds):
        return Cause.DEPLETED
    if (session.subscriber, session.service) in gone and MEMBER_KIND in kinds:
        return Cause.MEMBERS
    if REPLACED_KIND + session.id in kinds:
        return Cause.REPLACED
    if ("all" in kinds or is_limited_anew(session, kinds)) and any(line.due_ms for line in session.lines):
        return Cause.LIMIT
    if "final" in kinds and (any(line.final for line in session.lines) or _is_told(session, kinds, due, extends)):
        return Cause.WAITS
    if session.id in due:
        return Cause.PRICE
    return Cause.HOLDER if session.id in asked else None


def _is_told(
    session: Session, kinds: Collection[str], due: Collection[str], extends: Callable[[Session], bool]
) -> bool:
    """Whether money that came in changes what the client of a session was told. One of RADIUS does not say that it
    waits: it was told when its account was suspended, or the speed of another grade, or an end that is later now."""
    return is_radius(session.peer) and ("resume" in kinds or session.id in due or extends(session))


def is_limited_anew(session: Session, kinds: Collection[str]) -> bool:
    """Whether the spending limits of its subscriber changed: `limits anna`, or `limits ` of all (charging.md
    section 15)."""
    return f"limits {session.subscriber}" in kinds or "limits " in kinds


def money_held(account: Account, session: Session) -> int:
    """Micro-units: what it may still cost of what it was granted."""
    money = {bucket.id for bucket in account.buckets if bucket.kind == Kind.MONEY}
    return sum(take.amount for line in session.lines for take in line.hold if take.bucket in money)
