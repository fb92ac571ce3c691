"""The edge of the steady path: amounts so small, or so large, that nearly every request lies at one of its bounds.

`Twins` makes each call with the path and without, and with the model: that these do not differ is what is tested.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from balances import facts
from balances.structs.account import NEVER, Bucket, Counter
from balances.structs.blob import NO_BLOB, raw_of
from balances.structs.charge import Ask, Flag, Phase
from balances.structs.session import WHOLE
from tariffs.ladder import Ladder, Step
from tariffs.units import EXACT_MAX, SECONDS_MAX, Kind, Rounding
from tests.balances.random_thresholds import begin, random_services, random_thresholds
from tests.balances.rules.account_harness import ask
from tests.balances.test_steady import ACCOUNT, START_MS, Network

SMALL = tuple(
    Ladder((Step(Kind.MONEY, "data", block, price, per, rounding),), tag=f"{block}/{price}/{per}", terms="t")
    for block, price, per, rounding in (
        *((1, 0, 1, Rounding.UP), (7, 0, 3, Rounding.DOWN), (1, 1, 1, Rounding.UP), (1, 1, 3, Rounding.HALF_UP)),
        *((7, 3, 1, Rounding.UP), (7, 1, 2, Rounding.DOWN), (3, 20, 7, Rounding.HALF_UP), (60, 5, 1, Rounding.UP)),
    )
)
LARGE = tuple(
    Ladder((Step(Kind.MONEY, "data", block, price, per, rounding),), tag=f"{block}/{price}/{per}")
    for block, price, per, rounding in (
        *((1, 0, 1, Rounding.UP), (1, 1, 1, Rounding.UP), (EXACT_MAX // 3, 1, 1, Rounding.UP)),
        *(
            (1, EXACT_MAX // 5, 1, Rounding.UP),
            (1 << 20, 1 << 40, 1 << 26, Rounding.HALF_UP),
            (7, 1, 1 << 26, Rounding.UP),
        ),
    )
)
UNITS = {10: Kind.OCTETS, 11: Kind.OCTETS, 4_294_967_295: Kind.SECONDS, 0: Kind.UNITS, 50: Kind.MONEY}
FACTS = [raw_of(facts.pack([(WHOLE, WHOLE, 1, value)])) for value in ("262", "\0\n\x96", "")]


class Edges:
    """A life of one account, each step of which may be usual or just not."""

    def __init__(self, url: str, rng: Random, *, is_large: bool) -> None:
        self.rng, self.is_large = rng, is_large
        self.ladders = LARGE if is_large else SMALL
        self.oddness = rng.choice((0.0, 0.01, 0.05))
        self.credit = rng.choice((0, 0, 5, EXACT_MAX if is_large else 40, EXACT_MAX - 3))
        self.network = Network(
            url,
            credit_limit=self.credit,
            suspend_below=rng.choice((NEVER, NEVER, NEVER, 0, -20)),
            resume_at=rng.choice((NEVER, 5, 30)),
        )
        change = self.network.change
        if change.resume_at < change.suspend_below:
            change.resume_at = change.suspend_below
        change.buckets[0].amount = (
            rng.choice((0, 1, EXACT_MAX // 2, EXACT_MAX - 3, EXACT_MAX))
            if is_large
            else rng.choice((200, 2_000, 20_000))
        )
        if rng.random() < 0.3:
            until_ms = rng.choice((0, START_MS + 5_000, START_MS + 40_000))
            change.buckets.append(Bucket(1, Kind.OCTETS, 5, until_ms=until_ms, scope=["music"], name="b"))
        if rng.random() < 0.3:
            change.counters.append(Counter("m", rng.choice((0, 3)), 0, rng.choice((0, START_MS + 9_000))))
        if rng.random() < 0.4:
            has = change.buckets[0].amount
            change.buckets[0].filled = has
            near = (0, has // 2, max(has - 60, 0), has)
            begin(change, random_thresholds(rng, near), random_services(rng, near))
        self.open: dict[str, list[int]] = {}
        self.network.open()

    def amount(self, *near: int) -> int:
        if near and self.rng.random() < 0.6:
            return max(self.rng.choice(near) + self.rng.randint(-2, 2), 0)
        if self.is_large and self.rng.random() < 0.5:
            return self.rng.choice((EXACT_MAX, EXACT_MAX - 1, EXACT_MAX // 2, EXACT_MAX // 3, 1 << 32, 1 << 31))
        return self.rng.randrange(70)

    def spare(self) -> int:
        main = self.network.twins.model.accounts[ACCOUNT].buckets
        return sum(one.amount - one.held for one in main if one.id == 0) + min(self.credit, EXACT_MAX // 2)

    def odd(self, usual: Any, *others: Any) -> Any:
        """Now and then another one than the usual."""
        return self.rng.choice(others) if self.rng.random() < self.oddness else usual

    def line(self, session: str, group: int, phase: Phase) -> Ask:
        rng, network, odd = self.rng, self.network, self.odd
        most = SECONDS_MAX if UNITS[group] == Kind.SECONDS else EXACT_MAX
        granted = network.granted.get((session, group, -1), 0)
        used: Any = None
        if phase != Phase.START:
            used = odd(min(self.amount(granted, granted // 2, 0), granted), granted + 1, None)
        asked = min(rng.choice((0, 1, self.amount(self.spare(), granted))), most)
        if phase == Phase.STOP:
            asked = -1
        return ask(
            group,
            odd(asked, -1),
            used=used,
            by=rng.choice(self.ladders),
            unit=UNITS[group],
            at_ms=network.now_ms - rng.choice((0, 0, 900, -1, 3_000)),
            default=min(self.amount(self.spare()) + 1, most),
            minimum=min(rng.choice((0, 1, 1, 7, odd(1, self.amount(self.spare())))), most),
            maximum=min(rng.choice((0, 0, 30, self.amount(self.spare()) + 1)), most),
            priority=rng.randrange(3),
            validity_ms=rng.choice((1, 999, 1_000, 60_000)),
            free=rng.random() < 0.2,
            emergency=odd(False, True),
            portal=odd(False, True),
            until_ms=odd(0, network.now_ms + 1_500, network.now_ms + 60_000, network.now_ms),
            whole=odd(False, True),
        )

    def step(self, number: int) -> None:
        rng, network, odd = self.rng, self.network, self.odd
        network.now_ms += rng.choice((0, 0, 1, 1_000, odd(7_000, -500)))
        told = odd(NO_BLOB, *FACTS)
        others: dict[str, Any] = {
            "told": told,
            "facts": told,
            "flags": odd(0, Flag.EVENT_TIME),
            "idle_ms": rng.choice((1, 60_000, 172_800_000)),
            "remember_ms": rng.choice((600_000, 3_600_000)),
            "overrun_factor": rng.choice((1, 10)),
            "origin_state": rng.choice((0, 0, 1, 4_294_967_295)),
            "peer": rng.choice(("gw", "gw", "gw2")),
            "resend": odd(False, True),
            "single": odd(False, True),
            "countable": odd(True, False),
            "actor": rng.choice(("", "", "x" * 40)),
            "end_to_end": rng.choice((network.sent, 4_294_967_295 - network.sent)),
        }
        roll = rng.random()
        if roll < 0.1:
            network.send(Phase.EVENT, self.line("", rng.choice([*UNITS]), Phase.START), session=f"e{number}", **others)
        elif roll < 0.2 or not self.open:
            session = rng.choice((f"s{number}", f"\x96\n|{number}", "s" * 40 + str(number)))
            self.open[session] = rng.sample([*UNITS], rng.choice((1, 1, 2, 3, 4)))
            asks = [self.line(session, group, Phase.START) for group in self.open[session]]
            network.send(Phase.START, *asks, session=session, **others)
        else:
            session = rng.choice([*self.open])
            network._numbers[session] += odd(0, 1, 3, -1 if network._numbers[session] else 0)
            phase = Phase.STOP if rng.random() < 0.1 else Phase.UPDATE
            groups = [group for group in self.open[session] if rng.random() < 0.85] or self.open[session]
            asks = [self.line(session, group, phase) for group in odd(groups, groups[::-1])]
            network.send(phase, *asks, session=session, **others)
            if phase == Phase.STOP:
                del self.open[session]


def tell(url: str, seed: int, steps: int) -> tuple[int, int]:
    rng = Random(seed)
    edges = Edges(url, rng, is_large=seed % 3 == 2)
    try:
        for number in range(steps):
            edges.step(number)
    finally:
        edges.network.twins.close()
    return edges.network.taken, edges.network.sent


def test_at_the_bounds(redis_url: str) -> None:
    taken, sent = tell(redis_url, 13, 80)
    assert taken >= sent // 3, (taken, sent)


def test_near_what_can_be_counted(redis_url: str) -> None:
    taken, _ = tell(redis_url, 17, 60)
    assert taken


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 400))
def test_at_the_bounds_for_long(redis_url: str, seed: int) -> None:
    tell(redis_url, seed, 100)


def test_a_grant_after_which_no_more_can_be_counted(redis_url: str) -> None:
    """It is the last one (charging.md 2), which is charge.lua's."""
    network = Network(redis_url)
    by = Ladder((Step(Kind.MONEY, "data", 1, 0),), tag="f@1")
    assert not network.start(ask(10, EXACT_MAX, by=by, maximum=0))
    assert network.start(ask(10, EXACT_MAX - 2, by=by, maximum=0), session="gw;2")
    network.twins.close()
