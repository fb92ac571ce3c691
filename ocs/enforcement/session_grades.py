"""The grade that a session is served by at an instant: what its tariffs say of what it told, of how far it is and of
what its account has. Pure, but for where tariffs and subscribers are read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from balances.facts import of_line
from balances.model.funds import AccountFunds, Mode, credit_of
from balances.structs.account import Account, CounterWindow
from balances.structs.blob import blob_of
from balances.structs.session import Line, Session
from ocs.charging.profile import Profile
from ocs.charging.remembered import unpacked
from ocs.charging.services import UNKNOWN, Service
from tariffs.catalog import Catalog
from tariffs.climb import climb
from tariffs.inputs import Inputs
from tariffs.rating import rate
from tariffs.tariff import Rated
from tariffs.units import EXACT_MAX, Kind


def last_grade(session: Session) -> str:
    """Of what it was granted last."""
    return next((line.grade for line in session.lines if line.grade), "")


def grade_of(
    catalog: Catalog, profile: Profile, service: Service, account: Account, session: Session, at_ms: int
) -> str:
    """By the tariffs in force at that instant; "" where its price says none, or there is no price."""
    facts = unpacked(blob_of(session.facts))
    inputs = Inputs(
        session.service,
        attributes=profile.attributes,
        time_zone=profile.time_zone,
        subscriber=profile.subscriber,
        **facts.whole,  # type: ignore[arg-type]
    )
    for line in session.lines:
        if line.secondary:
            continue
        told = of_line(facts.lines, line.rating_group, line.service_id)
        own = msgspec.structs.replace(inputs, **told) if told else inputs
        group = None if line.rating_group < 0 else line.rating_group
        service_id = None if line.service_id < 0 else line.service_id
        if group is None and service_id is None:
            group = service.rating_group
        (rated,) = rate(catalog, profile.assignments, profile.currency, [(group, service_id)], own, at_ms)
        if found := _at_hand(rated, line, account, profile.subscriber, at_ms):
            return found
    return ""


def _at_hand(rated: Rated, line: Line, account: Account, subscriber: str, at_ms: int) -> str:
    """The grade of the next block: of the step that the line is at, and that the account can pay."""
    ladder = rated.ladder
    if ladder is None or not any(step.grade for step in ladder.steps):
        return ""
    position = msgspec.structs.replace(line, paid_ahead=0, ahead_ms=0)
    funds = AccountFunds(account, credit_of(account), at_ms, Mode.ALONE, {}, subscriber)
    climbed = climb(
        ladder,
        position,
        max((step.block for step in ladder.steps), default=1),
        _counted(account, at_ms),
        funds,
        at_ms=at_ms,
        ms_per_unit=1_000 if rated.unit == Kind.SECONDS else 0,
        grant=True,
    )
    return climbed.grade or ""


def _counted(account: Account, at_ms: int) -> dict[str, int]:
    """Counters as a grant finds them then (balances/model/account.py)."""

    def used(over: bool, window: int, value: int) -> int:
        return value if not over else EXACT_MAX if window == CounterWindow.ONCE else 0

    return {
        one.key: used(one.window != CounterWindow.NONE and 0 < one.until_ms <= at_ms, one.window, one.used)
        for one in account.counters
    }


class SessionGrades:
    """
    catalog:   the published tariffs; None: they are not read yet, or none of them says a grade
    profiles:  of subscribers, by their ids; those that are gone are not in it
    services:  rows by name
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog | None],
        profiles: Callable[[Collection[str]], Awaitable[Mapping[str, Profile]]],
        services: Mapping[str, Service],
        now_ms: Callable[[], int],
    ) -> None:
        self._catalog, self._profiles, self._services, self._now_ms = catalog, profiles, services, now_ms

    async def now(self, account: Account, session: Session) -> str:
        """Where that cannot be told, the one of its last grant."""
        catalog = self._catalog()
        profile = (await self._profiles([session.subscriber])).get(session.subscriber) if catalog is not None else None
        if catalog is None or profile is None:
            return last_grade(session)
        return self._of(catalog, profile, account, session, self._now_ms())

    async def regraded(self, account: Account, sessions: Sequence[Session]) -> set[str]:
        """Which of these are served by another grade now than what they were granted last had."""
        catalog = self._catalog()
        if catalog is None or not sessions:
            return set()
        profiles, now_ms = await self._profiles(_subscribers(sessions)), self._now_ms()
        return {
            one.id
            for one in sessions
            if (profile := profiles.get(one.subscriber)) is not None
            and self._of(catalog, profile, account, one, now_ms) != last_grade(one)
        }

    async def changed(
        self, account: Account, sessions: Sequence[Session], since_ms: Callable[[Session], int]
    ) -> set[str]:
        """Which of these are served by another grade now than at the instant that is said of them."""
        catalog = self._catalog()
        if catalog is None or not sessions:
            return set()
        profiles = await self._profiles(_subscribers(sessions))
        now_ms, found = self._now_ms(), set()
        for session in sessions:
            profile = profiles.get(session.subscriber)
            if profile is not None:
                before = self._of(catalog, profile, account, session, since_ms(session))
                if before != self._of(catalog, profile, account, session, now_ms):
                    found.add(session.id)
        return found

    def _of(self, catalog: Catalog, profile: Profile, account: Account, session: Session, at_ms: int) -> str:
        service = self._services.get(session.service, UNKNOWN)
        return grade_of(catalog, profile.paid_for(session.service), service, account, session, at_ms)


def _subscribers(sessions: Iterable[Session]) -> list[str]:
    return sorted({session.subscriber for session in sessions})
