"""charging.md section 2: use that is reported in other units than the granted one is set aside, all of it, once."""

from __future__ import annotations

from typing import Any

from balances.structs.charge import Ask, Suspense, UsageReport
from tariffs.units import Kind
from tests.balances.rules.account_harness import Counterparts, ask, use
from tests.balances.rules.conftest import Opened


def reporting(*amounts: list[int], **others: Any) -> Ask:
    """One report for each: money, octets, seconds, units; -1 where it names none."""
    one = use([], **others)
    one.reports = [UsageReport(money, octets, seconds, units, 0) for money, octets, seconds, units in amounts]
    return one


def set_aside(world: Counterparts) -> list[tuple[int, int, int]]:
    return [(one.unit, one.suspense, one.set_aside) for one in world.records[-1].usages if one.set_aside]


def test_use_in_several_other_units_is_all_set_aside(opened: Opened) -> None:
    """`nothing reported is lost`: also where two reports name several units, and none of them was granted."""
    world = opened(1_000)
    world.start(ask(asked=100))
    world.update(reporting([-1, -1, 40, 3], [7, -1, 5, 0]))
    other = Suspense.OTHER_UNIT
    assert set_aside(world) == [
        (Kind.SECONDS, 40, other),
        (Kind.UNITS, 3, other),
        (Kind.MONEY, 7, other),
        (Kind.SECONDS, 5, other),
    ]
    assert world.money == (1_000, 0)


def test_use_that_cannot_be_used_is_all_set_aside_too(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=100))
    world.stop(reporting([-1, -1, 40, 3], set_aside=Suspense.UNUSABLE))
    assert set_aside(world) == [(Kind.SECONDS, 40, Suspense.UNUSABLE), (Kind.UNITS, 3, Suspense.UNUSABLE)]


def test_what_is_charged_beside_a_line_is_not_set_aside_with_it(opened: Opened) -> None:
    """Two lines count the same reports: what either charges is not in suspense, what neither does is, once."""
    world = opened(1_000)
    volume, time = ask(asked=100), ask(asked=100, unit=Kind.SECONDS, secondary=1)
    world.start(volume, time)
    reports = [UsageReport(-1, -1, 40, 3, 0), UsageReport(-1, 9, -1, -1, 0), UsageReport(2, -1, -1, -1, 0)]
    volume, time = use([]), use([], unit=Kind.SECONDS, secondary=1)
    volume.reports, time.reports = reports, reports
    world.stop(volume, time)
    charged = [(one.unit, one.used) for one in world.records[-1].usages if one.used]
    assert charged == [(Kind.OCTETS, 9), (Kind.SECONDS, 40)]
    assert set_aside(world) == [(Kind.UNITS, 3, Suspense.OTHER_UNIT), (Kind.MONEY, 2, Suspense.OTHER_UNIT)]
    assert world.money == (951, 0)
