"""Whom time concerns: sessions of RADIUS whose grade is another one, and of Diameter that would not come back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from balances import facts
from balances.packing import fresh_account
from balances.structs.account import Account, Bucket, Counter
from balances.structs.blob import raw_of
from balances.structs.session import WHOLE, Line, Session, SessionState
from ocs.charging.profile import Profile
from ocs.charging.services import service_table
from ocs.enforcement.due_kinds import DueKind
from ocs.enforcement.due_sessions import AUTHORISED_MS, DueSessions, comes_back
from ocs.enforcement.session_grades import SessionGrades
from tariffs.catalog import Assignment, Catalog
from tariffs.inputs import TOLD
from tariffs.load import load_tariff
from tariffs.units import Kind
from tests.tariffs.customers import BERLIN, ms_of

NIGHT, MORNING = ms_of("2026-03-02T22:00:00"), ms_of("2026-03-03T06:00:00")
NOON = ms_of("2026-03-02T12:00:00")
AT_22 = DueKind(NIGHT)
HEAD = 'tariff = "home"\ncurrency = "EUR"\n'
AT_NIGHT = """
[bands.night]
hours = "22:00-06:00"
[[rows]]
when = { apn = "fixed" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
when = { time = "night" }
flat = { price = "0.01", per = "1 MB" }
grade = "night"
[[rows]]
flat = { price = "0.05", per = "1 MB" }
"""
SLOW = """
[counters.month]
counts = "octets"
period = "month"
[[rows]]
flat = { price = "0.05", per = "1 MB" }
below = { month = "10 GB" }
[[rows]]
flat = { price = "0.00", per = "1 MB" }
grade = "slow"
"""
PLAIN = '[[rows]]\nflat = { price = "0.05", per = "1 MB" }\n'


class DueWorld:
    def __init__(self, document: str = AT_NIGHT, *assignments: Assignment) -> None:
        self.catalog: Catalog | None = Catalog([load_tariff(HEAD + document, source="t.toml")])
        self.profile = Profile("s", "acc", 1, "EUR", BERLIN, assignments or (Assignment("home"),))
        self.account: Account = fresh_account("acc", "EUR")
        self.account.buckets[0].amount = 10_000_000
        self.now_ms = NIGHT
        self.grades = SessionGrades(lambda: self.catalog, self.profiles, service_table().by_name, lambda: self.now_ms)

    async def profiles(self, subscribers: Collection[str]) -> Mapping[str, Profile]:
        return {"s": self.profile} if "s" in subscribers else {}

    async def told(self, *sessions: Session, kind: DueKind = AT_22) -> Collection[str]:
        return await DueSessions(self.grades).of(self.account, sessions, {str(kind), "suspend"})

    async def told_of_money(self, *sessions: Session) -> Collection[str]:
        return await DueSessions(self.grades).of(self.account, sessions, {"final"})


def session(name: str = "radius", *, held: tuple[int, int] = (0, 0), opened_ms: int = NOON, **told: Any) -> Session:
    """held: when the line was granted what it holds, and when that lapses."""
    peer = "radius:bras" if name.startswith("radius") else "pgw"
    line = Line(-1, -1, 1, touched_ms=held[0], due_ms=held[1])
    made = Session(1, name, "s", "data", SessionState.OPEN, peer, "r", "v", opened_ms, 0, 0, 0, [], [], [line])
    if told:
        made.facts = raw_of(facts.pack([(WHOLE, WHOLE, TOLD.index(fact), value) for fact, value in told.items()]))
    return made


async def test_a_session_of_radius_is_told_of_another_grade() -> None:
    world = DueWorld()
    assert await world.told(session(), session("radius-fixed", apn="fixed")) == {"radius"}
    assert await world.grades.now(world.account, session()) == "night"
    world.now_ms = NIGHT - 1
    assert await world.grades.now(world.account, session()) == ""


@pytest.mark.parametrize(
    ("opened_ms", "now", "told"),
    [
        (NOON, MORNING - 1, True),
        (NOON, MORNING, False),
        (NIGHT + AUTHORISED_MS + 1, MORNING - 1, False),
        (NIGHT + AUTHORISED_MS + 1, MORNING, True),
        (NIGHT + 2_000, NIGHT + 5_000, True),
    ],
    ids=["still-night", "day-again", "begun-at-night", "begun-at-night-and-day-again", "authorised-before-night"],
)
async def test_late_it_is_told_what_is_so_now(opened_ms: int, now: int, told: bool) -> None:
    """All keepers were away at 22:00."""
    world = DueWorld()
    world.now_ms = now
    assert bool(await world.told(session(opened_ms=opened_ms))) is told


async def test_what_was_slow_is_fast_again_when_the_month_ends() -> None:
    world = DueWorld(SLOW)
    world.now_ms = ms_of("2026-04-01T00:00:00")
    kind = DueKind(world.now_ms)
    assert await world.told(session(), kind=kind) == set()
    world.account.counters.append(Counter("month:2026-03", 10 * 2**30, 0, world.now_ms))
    assert await world.told(session(), kind=kind) == {"radius"}


async def test_the_grade_is_of_what_the_account_can_pay() -> None:
    """A bundle that is fast, and what goes on slowly without one."""
    world = DueWorld('[[rows]]\nbundle = { scope = "fast", per = "1 MB" }\ngrade = "fast"\n' + PLAIN)
    assert await world.grades.now(world.account, session()) == ""
    world.account.buckets.append(Bucket(1, Kind.OCTETS, 5_000_000, 0, 0, 0, 0, ["fast"]))
    assert await world.grades.now(world.account, session()) == "fast"


async def test_nobody_is_told_where_no_tariff_says_a_grade_or_none_is_read_yet() -> None:
    world = DueWorld(PLAIN)
    assert await world.told(session()) == set()
    world.catalog = None
    assert await world.told(session()) == set()
    graded = session()
    graded.lines[0].grade = "night"
    assert await world.grades.now(world.account, graded) == "night"  # as it was granted


async def test_a_subscriber_that_is_gone() -> None:
    gone = session()
    gone.subscriber = "gone"
    assert await DueWorld().told(gone) == set()


@pytest.mark.parametrize(
    ("held", "comes"),
    [
        ((0, 0), True),
        ((NIGHT - 60_000, NIGHT + 60_000), True),
        ((NIGHT - 60_000, NIGHT + 61_000), True),
        ((NIGHT - 60_000, NIGHT + 600_000), False),
        ((NIGHT + 1, NIGHT + 600_000), True),
    ],
    ids=["holds-nothing", "until-then", "rounded", "beyond", "granted-since"],
)
async def test_a_session_of_diameter_is_asked_where_it_would_not_come_back(held: tuple[int, int], comes: bool) -> None:
    one = session("gy", held=held)
    assert comes_back(one, NIGHT) is comes
    world = DueWorld()
    assert await world.told(one) == (set() if comes else {"gy"})
    assert await world.told(one, kind=DueKind(NIGHT, "s")) == (set() if comes else {"gy"})
    world.catalog = None  # of an assignment no grade is asked
    assert await world.told(one, kind=DueKind(NIGHT, "s")) == (set() if comes else {"gy"})


async def test_an_assignment_concerns_its_subscriber() -> None:
    beyond = session("gy", held=(NOON, 2 * NIGHT))
    world = DueWorld(AT_NIGHT, Assignment("home", 0, NIGHT))
    assert await world.told(beyond, kind=DueKind(NIGHT, "other")) == set()
    assert await world.told(beyond, kind=DueKind(NIGHT, "s")) == {"gy"}


async def test_an_option_that_ends_takes_its_speed_along() -> None:
    world = DueWorld(
        '[[rows]]\nflat = { price = "0.01", per = "1 MB" }\ngrade = "turbo"\n', Assignment("home", 0, NIGHT)
    )
    world.now_ms = NIGHT - 1
    assert await world.grades.now(world.account, session()) == "turbo"
    world.now_ms = NIGHT
    assert await world.told(session(), kind=DueKind(NIGHT, "s")) == {"radius"}
    assert await world.grades.now(world.account, session()) == ""


async def test_money_that_came_in_is_told_where_it_changes_the_grade() -> None:
    """Of RADIUS, and not where the last grant had the same one."""
    world = DueWorld()
    world.now_ms = NIGHT + 5_000
    by_night, by_day = session("radius-night"), session("radius-day")
    by_night.lines[0].grade = "night"
    assert set(await world.told_of_money(by_night, by_day, session("pgw"))) == {"radius-day"}
