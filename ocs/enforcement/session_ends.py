"""How much more a session may use, as its account is now: what its client is told after a top-up, so that it lasts as
long as the money does (charging.md section 8). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from balances.structs.account import Account
from balances.structs.blob import blob_of
from balances.structs.charge import Ask, Charge, Course, Phase
from balances.structs.session import Session
from ocs.charging.radius.affordable import Affordable, affordable
from ocs.charging.services import UNKNOWN, Service
from tariffs.units import EXACT_MAX, Kind

VALIDITY_MS: Final = 600_000
"""Of a grant that is never made: any will do."""


def left_of(account: Account, session: Session, services: Mapping[str, Service], now_ms: int) -> Affordable:
    """By the prices that its lines were granted by last; a line that holds nothing has none, and says nothing."""
    service = services.get(session.service, UNKNOWN)
    asks = []
    for line in session.lines:
        if not blob_of(line.ladder) or line.secondary:
            continue
        quota = service.quota(Kind(line.unit))
        ask = Ask(
            line.rating_group,
            line.service_id,
            line.unit,
            [],
            0,
            quota.default,
            quota.minimum,
            0,
            service.priority,
            line.ladder,
            VALIDITY_MS,
        )
        asks.append(ask)
    if not asks:
        return Affordable()
    charge = Charge(
        account.id,
        session.subscriber,
        session.id,
        session.service,
        Phase.UPDATE,
        0,
        "",
        False,
        "",
        -1,
        False,
        now_ms,
        now_ms,
        EXACT_MAX,
        asks,
        session.peer,
        session.realm,
        session.via,
        course=Course.GOES_ON,
    )
    return affordable(charge, account, session)


def over_the_session(left: Affordable, session: Session, now_ms: int) -> Affordable:
    """The same from its begin on, as most clients count; None where it is not known how far it is."""
    seconds = octets = None
    if left.seconds is not None and session.lasted_s >= 0:
        seconds = session.lasted_s + max(now_ms - session.reported_ms, 0) // 1_000 + left.seconds
    if left.octets is not None:
        octets = sum(line.total for line in session.lines if line.unit == Kind.OCTETS) + left.octets
    return Affordable(seconds, octets)
