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
SESSIONS_OVER: Final = "sessions_over"
"""Attribute of a subscriber: what becomes of who logs in beyond that, `refuse` or `replace`; none: likewise."""


class Admittance(Enum):
    """Whether somebody is let in; of a refusal as it is counted."""

    GRANTED = "ok"
    WRONG_NAS = "wrong-nas"
    TOO_MANY_SESSIONS = "too-many-sessions"
    OUTSIDE_HOURS = "outside-hours"


WORDS: Final = {
    Admittance.WRONG_NAS: "not allowed to log in here",
    Admittance.OUTSIDE_HOURS: "not allowed at this hour",
    Admittance.TOO_MANY_SESSIONS: "as many sessions are open as are allowed",
}
"""Reply-Message."""


class AdmittanceCheck:
    """command: asks the live store"""

    def __init__(self, command: Callable[..., Pending[Any]]) -> None:
        self._command = command

    async def of_caller(self, profile: Profile, client: NasClient, service: Service, own: str) -> Admittance:
        """Of a voice gateway that has not said where to yet. own: the call, which is no other one"""
        if not may_log_in_at(profile, client.profile.group):
            return Admittance.WRONG_NAS
        most = sessions_max(profile, service)
        if most is None:
            return Admittance.GRANTED
        open_now = [one for one in await self._open_of(profile, service) if one.id != own]
        return Admittance.TOO_MANY_SESSIONS if len(open_now) >= most else Admittance.GRANTED

    async def in_its_way(self, profile: Profile, service: Service, own: str, most: int) -> tuple[str, ...]:
        """The sessions that are open for longest, as many as have to end so that `own` is one of `most`. Nothing where
        that cannot be: a login that waits for its Start is no session yet that could be told anything."""
        others = [one for one in await self._open_of(profile, service) if one.id != own]
        excess = len(others) - most + 1
        found = sorted((one for one in others if one.identification), key=lambda one: (one.opened_ms, one.id))
        return tuple(one.id for one in found[:excess]) if 0 < excess <= len(found) else ()

    async def _open_of(self, profile: Profile, service: Service) -> list[Session]:
        # All of the account: only of those whose sessions are counted, and only where somebody logs in.
        stored = stored_account(await self._command("HGETALL", keys.account(profile.account)))
        sessions = map(unpack_session, stored.sessions.values())
        mine = (profile.subscriber, service.name, SessionState.OPEN)
        return [one for one in sessions if (one.subscriber, one.service, one.state) == mine]


def may_log_in_at(profile: Profile, group: str) -> bool:
    allowed = profile.attributes.get(NAS_GROUPS, "")
    return not allowed or group in (one.strip() for one in allowed.split(","))


def sessions_max(profile: Profile, service: Service) -> int | None:
    """None: as many as there are. What is no number says nothing."""
    own = profile.attributes.get(SESSIONS_MAX, "").strip()
    return int(own) if own.isdecimal() else service.sessions_max


def replaces_others(profile: Profile, service: Service) -> bool:
    """Whether who logs in beyond that takes the place of another session. Another word than the two says nothing."""
    own = profile.attributes.get(SESSIONS_OVER, "").strip()
    return (own if own in ("refuse", "replace") else service.sessions_over) == "replace"
