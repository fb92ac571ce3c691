"""What time alone changes is looked at once, by whoever comes to it: with a PostgreSQL and a clock that is set."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from balances.ledger.intents import Intent, unexpanded
from ocs.enforcement import due_changes
from ocs.enforcement.due_changes import (
    GradeClock,
    expand_assignments,
    expand_grades,
    next_due_ms,
    plan,
    zones,
)
from ocs.enforcement.due_kinds import DueKind, due_kinds
from ocs.master.subscribers import ASSIGNMENT_COLUMNS, assignment_record
from tariffs.catalog import Assignment

HOUR = 3_600_000
NOON = 1_000_000 * 24 * HOUR + 12 * HOUR
NIGHT, MORNING = NOON + 10 * HOUR, NOON + 18 * HOUR
HOME = GradeClock("home", "")

Step = Callable[[], Awaitable[list[Intent] | None]]


@pytest.fixture
async def pool(pg_dsn: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(pg_dsn, min_size=1, max_size=4) as made:
        yield made


async def people(pool: Any, count: int, *, tariff: str = "home", zone: str = "UTC", until_ms: int = 0) -> None:
    """One subscriber each, under one account each."""
    names = [f"{tariff}-{number:05}" for number in range(count)]
    await pool.execute(
        "INSERT INTO accounts (id, currency, time_zone, credit_limit, change, members_change)"
        " SELECT id, 'EUR', $2, 0, 1, 1 FROM unnest($1::text[]) AS b(id)",
        names,
        zone,
    )
    await pool.execute(
        "INSERT INTO subscribers (id, account, barred, change) SELECT 's' || id, id, false, 1"
        " FROM unnest($1::text[]) AS b(id)",
        names,
    )
    await pool.executemany(
        f"INSERT INTO assignments ({', '.join(ASSIGNMENT_COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6)",
        [assignment_record(f"s{name}", 0, Assignment(tariff, 0, until_ms), NOON) for name in names],
    )


def day_and_night(_clock: GradeClock, after_ms: int) -> int:
    """22:00 and 06:00."""
    days = [day * 24 * HOUR for day in (-1, 0, 1)]
    return min(at_ms + day for day in days for at_ms in (NIGHT, MORNING) if at_ms + day > after_ms)


async def all_of(step: Step) -> list[Intent]:
    made: list[Intent] = []
    while (some := await step()) is not None:
        made += some
    return made


# --- assignments


async def test_an_assignment_that_ends_is_due_then_and_once(pool: Any) -> None:
    await people(pool, 2, until_ms=NIGHT)
    assert await next_due_ms(pool) == NIGHT
    assert await expand_assignments(pool, NIGHT - 1) is None
    made = await all_of(lambda: expand_assignments(pool, NIGHT))
    assert {one.account: one.kinds for one in made} == {
        name: frozenset({str(DueKind(NIGHT, f"s{name}"))}) for name in ("home-00000", "home-00001")
    }
    assert {one.crossed_ms for one in made} == {NIGHT}
    assert sorted(await unexpanded(pool, 0, 10), key=lambda one: one.id) == sorted(made, key=lambda one: one.id)
    assert await expand_assignments(pool, NIGHT + HOUR) is None
    assert await next_due_ms(pool) is None


@pytest.mark.parametrize("late", [False, True], ids=["each-in-its-time", "late"])
async def test_one_that_begins_and_ends(pool: Any, late: bool) -> None:
    await people(pool, 1)
    await pool.execute("UPDATE assignments SET from_ms = $1, until_ms = $2, due_ms = $1", NIGHT, MORNING)
    if late:  # one look covers both
        assert len(await all_of(lambda: expand_assignments(pool, MORNING))) == 1
    else:
        [began] = await all_of(lambda: expand_assignments(pool, NIGHT))
        assert await next_due_ms(pool) == MORNING
        [ended] = await all_of(lambda: expand_assignments(pool, MORNING))
        assert (began.crossed_ms, ended.crossed_ms) == (NIGHT, MORNING)
    assert await next_due_ms(pool) is None


async def test_those_of_one_account_are_looked_at_together(pool: Any) -> None:
    await people(pool, 3, until_ms=NIGHT)
    await pool.execute("UPDATE subscribers SET account = 'home-00000'")
    [made] = await all_of(lambda: expand_assignments(pool, NIGHT))
    assert sorted(kind.subscriber for kind in due_kinds(made.kinds)) == ["shome-00000", "shome-00001", "shome-00002"]


async def test_an_assignment_that_was_taken_away_is_not_due(pool: Any) -> None:
    await people(pool, 2, until_ms=NIGHT)
    await pool.execute("DELETE FROM subscribers WHERE id = 'shome-00000'")
    assert [one.account for one in await all_of(lambda: expand_assignments(pool, NIGHT))] == ["home-00001"]


def test_what_is_written_with_an_assignment() -> None:
    def due(from_ms: int, until_ms: int) -> int | None:
        return assignment_record("s", 0, Assignment("t", from_ms, until_ms), NOON)[-1]

    assert due(0, 0) is due(NOON, 0) is due(0, NOON) is None
    assert (due(NIGHT, 0), due(0, NIGHT), due(NIGHT, MORNING), due(1, MORNING)) == (NIGHT, NIGHT, NIGHT, MORNING)


async def test_a_keeper_killed_in_the_middle_has_done_nothing(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claim, intents and the note of how far it came are one transaction."""
    await people(pool, 3, until_ms=NIGHT)
    await plan(pool, [HOME], day_and_night, NOON)

    async def killed(pg: Any, concerned: Any) -> list[Intent]:
        await made(pg, concerned)
        raise KeyboardInterrupt

    made = due_changes._intents
    monkeypatch.setattr(due_changes, "_intents", killed)
    steps: tuple[Step, ...] = (
        lambda: expand_assignments(pool, NIGHT),
        lambda: expand_grades(pool, day_and_night, NIGHT),
    )
    for step in steps:
        with pytest.raises(KeyboardInterrupt):
            await step()
    assert await unexpanded(pool, 0, 10) == []
    monkeypatch.undo()
    assert len(await all_of(lambda: expand_assignments(pool, NIGHT))) == 3
    # The assignments end at that very instant: nobody has the tariff any more.
    assert await expand_grades(pool, day_and_night, NIGHT) == []


# --- grades


async def test_a_grade_at_its_instant(pool: Any) -> None:
    await people(pool, 3)
    await people(pool, 2, tariff="other")
    await plan(pool, [HOME], day_and_night, NOON)
    assert await next_due_ms(pool) == NIGHT
    assert await expand_grades(pool, day_and_night, NIGHT - 1) is None
    made = await expand_grades(pool, day_and_night, NIGHT)
    assert made is not None
    assert sorted(one.account for one in made) == ["home-00000", "home-00001", "home-00002"]
    assert {one.kinds for one in made} == {frozenset({str(DueKind(NIGHT))})}
    assert await expand_grades(pool, day_and_night, NIGHT + 1) is None
    assert await next_due_ms(pool) == MORNING


@pytest.mark.parametrize("plans", [0, 1], ids=["nobody-planned", "planned-anew-before"])
async def test_late_it_is_done_at_once_and_what_came_after_takes_its_place(pool: Any, plans: int) -> None:
    """The keepers were away from before 22:00 until after 06:00."""
    await people(pool, 2)
    await plan(pool, [HOME], day_and_night, NOON)
    for _ in range(plans):
        await plan(pool, [HOME], day_and_night, MORNING + 1)
    made = await all_of(lambda: expand_grades(pool, day_and_night, MORNING + 1))
    assert [(one.account, one.crossed_ms) for one in made] == [("home-00000", MORNING), ("home-00001", MORNING)]
    assert {one.kinds for one in made} == {
        frozenset({str(DueKind(NIGHT))})
    }  # what was told before that is what is known
    assert await next_due_ms(pool) == NIGHT + 24 * HOUR


async def test_the_next_change_comes_while_the_one_before_is_under_way(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_changes, "ACCOUNTS_AT_ONCE", 2)
    await people(pool, 5)
    await plan(pool, [HOME], day_and_night, NOON)
    first = await expand_grades(pool, day_and_night, NIGHT)
    assert first is not None
    assert [one.account for one in first] == ["home-00000", "home-00001"]
    await plan(pool, [HOME], day_and_night, NIGHT + 1)  # what is due stays
    rest = await all_of(lambda: expand_grades(pool, day_and_night, MORNING))
    assert Counter(one.account for one in rest) == Counter(f"home-{number:05}" for number in range(5))
    assert {one.crossed_ms for one in rest} == {MORNING}


async def test_a_tariff_that_changes_takes_its_change_along(pool: Any) -> None:
    await plan(pool, [HOME], lambda _clock, _after_ms: NIGHT, NOON)
    await plan(pool, [HOME], lambda _clock, _after_ms: NIGHT - HOUR, NOON)
    assert await next_due_ms(pool) == NIGHT - HOUR
    await plan(pool, [HOME], lambda _clock, _after_ms: 0, NOON)
    assert await next_due_ms(pool) is None
    await plan(pool, [HOME], lambda _clock, _after_ms: NIGHT, NOON)
    assert await next_due_ms(pool) == NIGHT
    await plan(pool, [], lambda _clock, _after_ms: NIGHT, NOON)
    assert await next_due_ms(pool) is None


async def test_a_keeper_whose_clock_is_behind_repeats_nothing(pool: Any) -> None:
    await people(pool, 1)
    await plan(pool, [HOME], day_and_night, NOON)
    assert len(await all_of(lambda: expand_grades(pool, day_and_night, NIGHT))) == 1
    await plan(pool, [HOME], day_and_night, NIGHT - 1_000)
    assert await expand_grades(pool, day_and_night, NIGHT + 1) is None
    assert await next_due_ms(pool) == MORNING


async def test_each_zone_has_its_own_night(pool: Any) -> None:
    await people(pool, 1)
    await people(pool, 1, tariff="home-b", zone="Europe/Berlin")
    await pool.execute("UPDATE assignments SET tariff = 'home'")
    assert await zones(pool) == ["Europe/Berlin", "UTC"]
    berlin = GradeClock("home", "Europe/Berlin")

    def change(clock: GradeClock, after_ms: int) -> int:
        return day_and_night(clock, after_ms + HOUR) - HOUR if clock == berlin else day_and_night(clock, after_ms)

    await plan(pool, [berlin, GradeClock("home", "UTC")], change, NOON)
    [first] = await all_of(lambda: expand_grades(pool, change, NIGHT - HOUR))
    [second] = await all_of(lambda: expand_grades(pool, change, NIGHT))
    assert [first.account, second.account] == ["home-b-00000", "home-00000"]


async def test_two_keepers_make_each_intent_once(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand whose grade changes and whose assignment ends, a few at a time."""
    monkeypatch.setattr(due_changes, "ACCOUNTS_AT_ONCE", 500)
    await people(pool, 5_000)
    await people(pool, 5_000, tariff="other", until_ms=NIGHT)
    await plan(pool, [HOME], day_and_night, NOON)
    made: list[Intent] = []
    steps: tuple[Step, ...] = (
        lambda: expand_assignments(pool, NIGHT),
        lambda: expand_grades(pool, day_and_night, NIGHT),
    )

    async def keeper() -> None:
        for step in steps:
            while (some := await step()) is not None:
                assert len(some) <= due_changes.ASSIGNMENTS_AT_ONCE
                made.extend(some)

    await asyncio.gather(keeper(), keeper())
    made += await all_of(steps[1])  # one keeper found the row with the other one
    counted = Counter(one.account for one in made)
    assert len(counted) == 10_000
    assert set(counted.values()) == {1}
    assert len({one.id for one in made}) == 10_000
