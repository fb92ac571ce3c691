"""Random lives of an account, as small values that hypothesis can make smaller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st

from balances.structs.account import NEVER, SuspendReasons
from balances.structs.charge import Phase
from tariffs.ladder import Count, Ladder, Step, StepDues
from tariffs.units import Kind, SumRounding

MINUTE = 60_000
UNITS = {10: Kind.OCTETS, 20: Kind.OCTETS, 30: Kind.SECONDS, 40: Kind.UNITS, 50: Kind.MONEY}
"""What each rating group counts in."""
OWN = "own"
"""Stands for a counter that only one line of one session moves ..."""
PERIOD = "period"
"""... and for one that has another key in each period of so many minutes; blocks then lapse with it."""
PERIOD_MINUTES = 6


@dataclass(frozen=True)
class StoryLine:
    """One line of a request."""

    rating_group: int
    asked: int
    used: tuple[str, int]
    """"none"; "part": per cent of what is granted; "over": units beyond it; "other": units of another kind."""
    ladder: int
    minimum: int
    maximum: int
    priority: int = 0
    portal: bool = False
    whole: bool = False
    rated: bool = True
    ago_ms: int = 0
    """How long before the request it was used."""


@dataclass(frozen=True)
class StoryRequest:
    phase: int
    """0: an I where the session is not open, else a U."""
    session: int
    parts: tuple[StoryLine, ...]
    single: bool = False


@dataclass(frozen=True)
class Debit:
    """An event."""

    units: int
    ladder: int
    whole: bool


@dataclass(frozen=True)
class GiveBack:
    """Of the n-th debit from the last: so much money, or all that is left of it."""

    back: int
    money: int


@dataclass(frozen=True)
class Repetition:
    """A request once more: the n-th from the last."""

    back: int
    resend: bool
    same: bool


@dataclass(frozen=True)
class PayIn:
    """Into the main bucket."""

    amount: int
    lasts: int = 0
    """Minutes that buckets last at least, from then on; 0: as long as they do."""


@dataclass(frozen=True)
class Bonus:
    """A new bucket."""

    kind: int
    amount: int
    priority: int
    begins: int
    """Minutes from now."""
    lasts: int
    """Minutes; 0: for ever."""
    scope: tuple[str, ...]
    blocker: bool = False
    hours: tuple[int, int] | None = None
    """Minutes from when the story begins."""
    money: int = 0
    """Of units: in the same bucket."""
    price: tuple[int, int] = (0, 1)
    """Of units: what so many of them cost besides."""


@dataclass(frozen=True)
class Blocking:
    """A bucket becomes a blocker, or is one no more."""

    bucket: int
    blocker: bool


@dataclass(frozen=True)
class TakeOut:
    """Of the main bucket, or of another one."""

    bucket: int
    amount: int
    own_only: bool
    keeps_held: bool


@dataclass(frozen=True)
class SettingsChange:
    """Settings."""

    credit_limit: int | None
    thresholds: tuple[int, int] | None
    set_state: int
    clear_state: int


@dataclass(frozen=True)
class Wait:
    ms: int
    swept: bool = True
    """Supervision comes by at once."""


@dataclass(frozen=True)
class PostedAgain:
    """The last posting once more, under its key."""


StoryAction = (
    StoryRequest
    | Debit
    | GiveBack
    | Repetition
    | PayIn
    | Bonus
    | Blocking
    | TakeOut
    | SettingsChange
    | Wait
    | PostedAgain
)


Watch = tuple[int, int, int, bool, str]
"""A notification threshold: kind, level, way back, whether these are percentages, service."""


@dataclass(frozen=True)
class Story:
    """A life."""

    credit_limit: int
    thresholds: tuple[int, int]
    money: int
    ladders: tuple[Ladder, ...]
    actions: tuple[StoryAction, ...]
    watches: tuple[Watch, ...] = ()
    service_line: tuple[int, int] | None = None


# ------------------------------------------------------------ ladders

blocks = st.sampled_from((1, 7, 60))


@st.composite
def ladders(draw: st.DrawFn, kind: int, *, limited: bool, bundled: bool = False) -> Ladder:
    """Bundles, bounds, odd fractions, fees, a least and a most, own tiers, limits of what is spent or used.

    bundled:  a bundle pays first, by the unit
    """
    steps: list[Step] = []
    tiered = draw(st.sampled_from(("", "", "", OWN, PERIOD if kind != Kind.SECONDS else OWN)))
    lapses = 1 if tiered == PERIOD and draw(st.booleans()) else 0
    if bundled:
        steps.append(Step(kind, "data", 1, 1))
    for _ in range(draw(st.integers(0, 1 if bundled else 2))):
        bounds: dict[str, Any] = {"reach": draw(st.sampled_from((0, 0, 50, 130)))}
        if tiered:
            bounds |= {"counter": tiered, "counter_reach": draw(st.sampled_from((40, 100, 300)))}
            bounds |= {"ends_ms": lapses}
        if kind != Kind.MONEY and draw(st.booleans()):
            block = draw(blocks)
            steps.append(Step(kind, "data", block, draw(st.sampled_from((block, 1, 3))), **bounds))
        else:
            steps.append(money_step(draw, **bounds))
    steps.append(money_step(draw))
    dues = draw(
        st.sampled_from(
            (
                *(None, None, None),
                *(StepDues(fee=25), StepDues(fee=10, waived=True), StepDues(least=40), StepDues(most=90)),
                *(StepDues(off=60), StepDues(least=15, most=90, off=30)),
                *(StepDues(to=10, rounding=rounding) for rounding in SumRounding),
            )
        )
    )
    counts = [Count("all", 0), Count("paid", 1)] if draw(st.booleans()) else []
    counts += [Count(tiered, draw(st.integers(0, 1)))] if tiered else []
    if limited:
        spent, used = draw(st.sampled_from((-1, -1, 0, 150, 1_000))), draw(st.sampled_from((-1, -1, -1, 90, 400)))
        counts += [Count("spent", 1, limit=spent)] if spent >= 0 else []
        counts += [Count("used", 0, limit=used)] if used >= 0 else []
    of_session = draw(st.sampled_from((0, 0, 10, 7))) if dues is None or not dues.to else 0
    return Ladder(
        tuple(msgspec.structs.replace(step, dues=1 if dues else 0) for step in steps),
        (dues,) if dues else (),
        tuple(counts),
        tag="t@1",
        sum_to=of_session,
        sum_rounding=draw(st.sampled_from(SumRounding)) if of_session else 0,
    )


def money_step(draw: st.DrawFn, **bounds: Any) -> Step:
    price, per = draw(st.sampled_from((1, 0, 3, 20))), draw(st.sampled_from((1, 1, 3)))
    return Step(Kind.MONEY, "data", draw(blocks), price, per, draw(st.integers(0, 2)), **bounds)


# ------------------------------------------------------------ what happens

amounts = st.sampled_from((100, 0, 10, 40, 300, 1_000))


@st.composite
def parts(draw: st.DrawFn, groups: tuple[int, ...], ladder_count: int) -> StoryLine:
    used = draw(
        st.one_of(
            st.just(("none", 0)),
            st.tuples(st.just("part"), st.sampled_from((0, 10, 50, 99, 100))),
            st.tuples(st.just("part"), st.sampled_from((100, 50))),
            st.tuples(st.sampled_from(("over", "over", "other")), st.sampled_from((1, 30, 200))),
        )
    )
    minimum = draw(st.sampled_from((1, 1, 20, 100)))
    return StoryLine(
        draw(st.sampled_from(groups)),
        draw(st.sampled_from((0, -1, 1, 50, 150, 400))),
        used,
        draw(st.integers(0, ladder_count - 1)),
        minimum,
        draw(st.sampled_from((1_000, 150))),
        draw(st.integers(0, 1)),
        draw(st.integers(0, 9)) == 9,
        draw(st.integers(0, 9)) == 9,
        draw(st.integers(0, 11)) < 11,
        draw(st.sampled_from((0, 0, 0, 500, 70_000))),
    )


@st.composite
def requests(draw: st.DrawFn, groups: tuple[int, ...], lines_max: int, ladder_count: int) -> StoryRequest:
    phase = draw(st.sampled_from((0, 0, 0, 0, 0, Phase.STOP, Phase.UPDATE, Phase.START)))
    found = draw(
        st.lists(parts(groups, ladder_count), min_size=1, max_size=lines_max, unique_by=lambda one: one.rating_group)
    )
    return StoryRequest(
        phase, draw(st.sampled_from((0, 0, 0, 1, 1, 2))), tuple(found), lines_max == 1 and draw(st.integers(0, 5)) == 0
    )


again = st.builds(Repetition, st.integers(0, 3), st.booleans(), st.booleans())
refunds = st.builds(GiveBack, st.integers(0, 2), st.sampled_from((0, 0, 1, 30, 100)))
top_ups = st.builds(PayIn, amounts, st.sampled_from((0, 0, 1, 10, 100)))
thresholds = st.sampled_from(((NEVER, NEVER), (NEVER, NEVER), (0, 0), (20, 100), (-50, 10)))
waits = st.builds(
    Wait,
    st.sampled_from((MINUTE, 1, 1_000, 30_000, 5 * MINUTE, 9 * MINUTE, 25 * MINUTE, 70 * MINUTE)),
    st.sampled_from((True, True, False)),
)
changes = st.builds(
    SettingsChange,
    st.sampled_from((None, 0, 100, 300)),
    st.one_of(st.none(), thresholds),
    st.sampled_from((0, 0, 0, SuspendReasons.BARRED)),
    st.sampled_from((0, SuspendReasons.BARRED)),
)
take_outs = st.builds(TakeOut, st.integers(0, 2), amounts, st.booleans(), st.booleans())


blockings = st.builds(Blocking, st.integers(0, 3), st.booleans())


service_lines = st.sampled_from((None, None, (0, 0), (60, 60), (50, 200)))


@st.composite
def watches(draw: st.DrawFn, kinds: tuple[int, ...]) -> Watch:
    percent = draw(st.booleans())
    below = draw(st.sampled_from((1, 10, 33, 50, 100) if percent else (-20, 0, 1, 50, 100, 450)))
    more = draw(st.sampled_from((0, 0, 1, 30)))
    rearm = min(below + more, 100) if percent else below + more
    return draw(st.sampled_from(kinds)), below, rearm, percent, draw(st.sampled_from(("", "", "data", "voice")))


def bonuses(kinds: tuple[int, ...]) -> st.SearchStrategy[Bonus]:
    return st.builds(
        Bonus,
        st.sampled_from(kinds),
        amounts,
        st.sampled_from((10, 100, 200)),
        st.sampled_from((0, 0, 1)),
        st.sampled_from((0, 1, 4, 30)),
        st.sampled_from(((), (), ("data",), ("voice",))),
        st.sampled_from((False, False, True)),
        st.sampled_from((None, None, None, (0, 3), (2, 9), (5, 60))),
        st.sampled_from((0, 0, 1, 40)),
        st.sampled_from(((0, 1), (0, 1), (1, 1), (3, 7), (2, 1), (7, 60))),
    )


def sold(kind: int) -> st.SearchStrategy[Bonus]:
    """A package with a price of its own, of which reports of a few units each leave a rest."""
    return st.builds(
        Bonus,
        st.just(kind),
        st.sampled_from((100, 40, 300)),
        st.just(10),
        st.just(0),
        st.just(0),
        st.sampled_from(((), ("data",))),
        st.just(False),
        st.none(),
        st.sampled_from((0, 0, 40)),
        st.sampled_from(((1, 3), (2, 7), (5, 3), (7, 60), (1, 1))),
    )


@st.composite
def stories(
    draw: st.DrawFn, *, groups: tuple[int, ...], lines_max: int, length: int = 20, priced: bool = False
) -> Story:
    """priced: most use is of packages that have a price"""
    kind = UNITS[groups[0]]
    ladder = ladders(kind, limited=lines_max == 1, bundled=priced)
    found = tuple(draw(st.lists(ladder, min_size=1, max_size=3)))
    request = requests(groups, lines_max, len(found))
    debits = st.builds(Debit, st.sampled_from((1, 50, 150)), st.integers(0, len(found) - 1), st.booleans())
    events = st.one_of(debits, refunds) if kind != Kind.SECONDS else waits
    rare = st.one_of(events, again, st.just(PostedAgain()), top_ups, take_outs, changes, blockings)
    bonus = bonuses((Kind.MONEY, kind))
    action = st.one_of(request, request, request, request, request, rare, waits, bonus)
    if priced:  # events and what is given back of them as often as all that is rare
        action = st.one_of(request, request, request, request, request, events, rare, waits)
    packages = draw(st.lists(sold(kind), min_size=1, max_size=2)) if priced else []
    actions = [*packages, *draw(st.lists(bonus, max_size=2)), *draw(st.lists(action, min_size=6, max_size=length))]
    return Story(
        draw(st.sampled_from((0, 0, 100))),
        draw(thresholds),
        draw(st.sampled_from((500, 0, 100, 5_000))),
        found,
        tuple(actions),
        tuple(draw(st.lists(watches((Kind.MONEY, kind)), max_size=3))),
        draw(service_lines),
    )
