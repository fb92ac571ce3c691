"""Whether a session may begin beside those that are open. Twin of lua/lib/crowd.lua."""

from __future__ import annotations

from collections.abc import Iterable

from balances.structs.charge import Charge
from balances.structs.session import Session, SessionState


def is_crowded(charge: Charge, sessions: Iterable[Session]) -> bool:
    """sessions: all of the account"""
    left_out = {charge.session, *charge.replaces}
    others = sum(
        one.state == SessionState.OPEN
        and (one.subscriber, one.service) == (charge.subscriber, charge.service)
        and one.id not in left_out
        for one in sessions
    )
    return others >= charge.sessions_max
