"""Who may log in where, and how often at once, besides who has the password (docs/radius.md)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from balances import keys
from balances.packing import stored_account, unpack_session
from balances.redis.pending import Pending
from balances.structs.session import Session, SessionState
from ocs.charging.profile import Profile
from ocs.charging.services import Service
from ocs.net.radius.clients import NasClient

NAS_GROUPS: Final = "nas_groups"
"""Attribute of a subscriber: the groups of clients where it may log in, with commas between; none: everywhere."""
SESSIONS_MAX: Final = "sessions_max"
"""Attribute of a subscriber: how many sessions of a service it may have at once; none: as the service row says."""


class Admittance(Enum):
    """Whether somebody is let in; of a refusal as it is counted."""

    GRANTED = "ok"
    WRONG_NAS = "wrong-nas"
    TOO_MANY_SESSIONS = "too-many-sessions"


WORDS: Final = {
    Admittance.WRONG_NAS: "not allowed to log in here",
    Admittance.TOO_MANY_SESSIONS: "as many sessions are open as are allowed",
}
"""Reply-Message."""


class AdmittanceCheck:
    """command: asks the live store"""

    def __init__(self, command: Callable[..., Pending[Any]]) -> None:
        self._command = command

    async def of(self, profile: Profile, client: NasClient, service: Service, own: tuple[str, ...]) -> Admittance:
        """
        own:  sessions that are this one: the one that is open at its port, and its hold
        """
        if not may_log_in_at(profile, client.profile.group):
            return Admittance.WRONG_NAS
        most = sessions_max(profile, service)
        if most is None:
            return Admittance.GRANTED
        # All of the account: only of those whose sessions are counted, and only where somebody logs in.
        stored = stored_account(await self._command("HGETALL", keys.account(profile.account)))
        sessions = map(unpack_session, stored.sessions.values())
        open_now = sum(is_open_of(one, profile.subscriber, service.name, own) for one in sessions)
        return Admittance.TOO_MANY_SESSIONS if open_now >= most else Admittance.GRANTED


def may_log_in_at(profile: Profile, group: str) -> bool:
    allowed = profile.attributes.get(NAS_GROUPS, "")
    return not allowed or group in (one.strip() for one in allowed.split(","))


def sessions_max(profile: Profile, service: Service) -> int | None:
    """None: as many as there are. What is no number says nothing."""
    own = profile.attributes.get(SESSIONS_MAX, "").strip()
    return int(own) if own.isdecimal() else service.sessions_max


def is_open_of(session: Session, subscriber: str, service: str, own: tuple[str, ...]) -> bool:
    mine = session.subscriber == subscriber and session.service == service
    return mine and session.state == SessionState.OPEN and session.id not in own
