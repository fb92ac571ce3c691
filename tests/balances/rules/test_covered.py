"""charging.md section 17: what is confirmed of a reservation is taken of what it holds, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from balances.structs.charge import Ask, Phase
from tariffs.ladder import Ladder, Step
from tariffs.units import Kind
from tests.balances.rules.account_harness import MINUTE, Counterparts, ask
from tests.balances.rules.conftest import Opened

MONEY = Ladder((Step(price=1),), tag="money")


def part(used: int, left: int) -> list[Ask]:
    return [ask(asked=left or -1, used=used, unit=Kind.MONEY, whole=True, minimum=1, maximum=0, by=MONEY)]


def status_of(world: Counterparts, number: int, used: int, left: int) -> str:
    one = world.start(ask(asked=60, unit=Kind.MONEY, whole=True, by=MONEY)) if not world.sent else None
    assert one is None or one.lines[0].granted == 60
    before = world.money, len(world.records)
    charge = msgspec.structs.replace(
        world.sent[0], phase=Phase.UPDATE, number=number, key=f"2:{number}", fingerprint=f"{used} {left}",
        asks=part(used, left), covered=True, now_ms=world.now_ms,
    )  # fmt: skip
    status, _ = world.twins.charge(charge)
    if status == "lapsed":
        assert (world.money, len(world.records)) == before
    return status


@pytest.mark.parametrize(("used", "left"), [(60, 0), (20, 40), (0, 0), (0, 60)])
def test_what_is_held_covers_it(opened: Opened, used: int, left: int) -> None:
    world = opened(100)
    assert [status_of(world, 1, used, left) for _ in range(2)] == ["ok", "again"]
    assert world.money == (100 - used, left)


@pytest.mark.parametrize(("used", "left"), [(61, 0), (30, 31), (0, 61)])
def test_what_is_not_held_is_not_taken(opened: Opened, used: int, left: int) -> None:
    world = opened(100)
    assert status_of(world, 1, used, left) == "lapsed"
    assert world.money == (100, 60)


def test_what_has_lapsed_is_charged_to_nobody(opened: Opened) -> None:
    world = opened(100)
    assert status_of(world, 1, 20, 40) == "ok"
    world.wait(60 * MINUTE)
    world.expire()
    assert (status_of(world, 2, 10, 0), status_of(world, 1, 20, 40)) == ("lapsed", "again")
    assert world.money == (80, 0)
