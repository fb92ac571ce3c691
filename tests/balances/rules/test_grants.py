"""charging.md section 5, grants: how much, to whom, when it is the last, and what a refusal does."""

from __future__ import annotations

import pytest

from balances.structs.account import SuspendReasons
from balances.structs.charge import Outcome, Phase, Result
from balances.structs.session import SessionState
from tariffs.units import Kind
from tests.balances.rules.account_harness import (
    FREE,
    MINUTE,
    Counterparts,
    ask,
    grants,
    ladder,
    money,
    only,
    use,
)
from tests.balances.rules.conftest import Opened

BLOCKS = ladder(money(10, block=60))

# --- how much -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "asked", "default", "maximum", "granted"),
    [
        (1_000, 70, 100, 500, 70),
        (1_000, 0, 100, 500, 100),
        (1_000, 700, 100, 500, 500),
        (1_000, 0, 900, 500, 500),
        (300, 700, 100, 500, 300),
    ],
    ids=["asked", "default", "maximum", "default above the maximum", "covered"],
)
def test_a_grant_is_the_least_of_its_bounds(
    opened: Opened, balance: int, asked: int, default: int, maximum: int, granted: int
) -> None:
    """`grant = min(asked or the service's default, service maximum, whole blocks spendable covers, ...)`."""
    world = opened(balance)
    assert only(world.start(ask(asked=asked, default=default, maximum=maximum))).granted == granted
    assert world.money == (balance, granted)


def test_a_grant_is_at_least_the_minimum_when_covered(opened: Opened) -> None:
    """`at least the service minimum when covered`."""
    world = opened(1_000)
    assert only(world.start(ask(asked=10, minimum=50))).granted == 50


@pytest.mark.parametrize(("balance", "granted"), [(10, 60), (19, 60), (20, 100), (9, 0)])
def test_only_whole_blocks_are_granted(opened: Opened, balance: int, granted: int) -> None:
    """`whole blocks spendable covers`: blocks of 60 at 10 each."""
    world = opened(balance)
    assert only(world.start(ask(asked=100, by=BLOCKS))).granted == granted


def test_below_the_minimum_all_whole_blocks_are_granted_as_final(opened: Opened) -> None:
    """`below the minimum all whole blocks left, as final`."""
    world = opened(29)
    started = only(world.start(ask(asked=500, minimum=200, by=BLOCKS)))
    assert (started.granted, started.final) == (120, True)
    assert world.money == (29, 20)


def test_a_first_block_that_is_not_covered_is_refused(opened: Opened) -> None:
    """`If setup + first block is not covered: 4012`; at command level for an I, which is refused."""
    world = opened(9)
    refused = world.start(ask(by=BLOCKS))
    assert (refused.result, only(refused).result) == (Result.CREDIT_LIMIT, Result.CREDIT_LIMIT)
    assert world.session().state == SessionState.REFUSED
    assert world.money == (9, 0)


def test_every_grant_has_its_validity_time(opened: Opened) -> None:
    """`Every grant has Validity-Time`, also a free one."""
    world = opened(1_000)
    lines = world.start(ask(10, validity_ms=590_123), ask(20, by=FREE, free=True, validity_ms=480_456)).lines
    assert [line.validity_ms for line in lines] == [590_123, 480_456]


# --- several lines --------------------------------------------------------------------------------------------


def test_reported_lines_are_settled_and_released_before_any_grant(opened: Opened) -> None:
    """First pass: `settle every reported line and release its old hold`, though it is named last."""
    world = opened(1_000)
    world.start(ask(20, asked=1_000))
    outcome = world.update(ask(10, asked=1_000), use(100, 20))
    assert grants(outcome) == [900, 0]
    assert world.money == (900, 900)


def test_each_line_has_its_minimum_before_any_has_more(opened: Opened) -> None:
    """Second pass: `give each asking line its minimum`."""
    world = opened(300)
    granted = grants(world.start(ask(10, asked=10_000, minimum=100), ask(20, asked=100, minimum=100)))
    assert granted == [200, 100]


@pytest.mark.parametrize(("priorities", "granted"), [((0, 0), [100, 50]), ((1, 0), [50, 100]), ((0, 1), [100, 50])])
def test_minima_go_by_service_priority_then_message_order(
    opened: Opened, priorities: tuple[int, int], granted: list[int]
) -> None:
    """`in service priority then message order`, when money for two is not there."""
    world = opened(150)
    first, second = (ask(10 + i, asked=100, minimum=100, priority=priorities[i]) for i in range(2))
    assert grants(world.start(first, second)) == granted


def test_the_rest_is_shared_in_proportion_to_what_was_asked(opened: Opened) -> None:
    """Third pass: 1,000 less two minima is shared 3 : 1."""
    world = opened(1_000)
    assert grants(world.start(ask(10, asked=900, minimum=90), ask(20, asked=300, minimum=30))) == [750, 250]


@pytest.mark.parametrize(
    ("bonus", "balance", "granted"),
    [(10, 5_000, [100, 100]), (100, 100, [100, 100]), (100, 50, [75, 75]), (101, 50, [76, 75])],
    ids=["plenty", "just enough", "short", "what rounding leaves"],
)
def test_a_part_of_a_bucket_that_is_shared_is_made_up_from_the_next(
    opened: Opened, bonus: int, balance: int, granted: list[int]
) -> None:
    """`whole blocks spendable covers`: all that is spendable, though two lines share the bucket that pays first."""
    world = opened(balance)
    world.grant_bucket(Kind.MONEY, bonus)
    assert grants(world.start(ask(10, asked=100), ask(20, asked=100))) == granted


@pytest.mark.parametrize(
    ("balance", "asked", "granted"),
    [
        (100, [(100, True), (100, False)], [100, 0]),
        (99, [(100, True), (100, False)], [0, 99]),
        (100, [(100, False), (100, True)], [100, 0]),
        (200, [(100, True), (300, False), (100, False)], [100, 75, 25]),
        (100, [(60, True), (60, True)], [60, 0]),
        (100, [(60, True), (60, True), (50, False)], [60, 0, 40]),
        (59, [(60, True), (60, True), (20, False), (80, False)], [0, 0, 13, 46]),
    ],
    ids=str,
)
def test_of_what_is_served_whole_all_is_the_least_and_else_nothing(
    opened: Opened, balance: int, asked: list[tuple[int, bool]], granted: list[int]
) -> None:
    """`For a service marked whole the block is all that is wanted`: covered in its turn, or left to the others."""
    world = opened(balance)
    lines = [ask(10 + at, asked=want, whole=whole, minimum=1) for at, (want, whole) in enumerate(asked)]
    assert grants(world.start(*lines)) == granted
    assert world.money[1] == sum(granted)


def test_the_validity_of_a_bucket_does_not_begin_with_what_is_not_granted(opened: Opened) -> None:
    """`Its validity may begin with its first use`: a hold that could not be whole was none."""
    world = opened(0)
    world.grant_bucket(Kind.MONEY, 50, window_ms=MINUTE)
    assert grants(world.start(ask(asked=100, whole=True))) == [0]
    (bucket,) = [one for one in world.account.buckets if one.id]
    assert (bucket.until_ms, bucket.window_ms) == (0, MINUTE)


def test_what_one_of_two_parts_held_is_for_the_other_lines(opened: Opened) -> None:
    """Of two parts charged side by side one is not covered: what the other one held is shared once more."""
    world = opened(100)
    parts = [ask(10, 100), ask(10, 60, unit=Kind.SECONDS, by=ladder(money(500)), secondary=1)]
    assert grants(world.start(*parts, ask(20, 100))) == [0, 0, 100]
    assert world.money[1] == 100


def test_shares_never_add_up_to_more_than_there_is(opened: Opened) -> None:
    """Parallel lines `can never be granted the same money`, at odd prices and blocks."""
    world = opened(997)
    lines = [ask(i, asked=500 + 77 * i, by=ladder(money(3 + i, block=7 + i)), minimum=7) for i in range(5)]
    granted = grants(world.start(*lines))
    assert world.money[1] == sum(-(-units // (7 + i)) * (3 + i) for i, units in enumerate(granted))
    assert world.money[1] <= 997
    assert all(granted)


def test_a_line_without_funds_is_refused_alone(opened: Opened) -> None:
    """`Result-Code stands in every MSCC`: 2001 for the command, 4012 in the line."""
    world = opened(100)
    outcome = world.start(ask(10, asked=100, minimum=100), ask(20, asked=100))
    assert outcome.result == Result.OK
    assert [line.result for line in outcome.lines] == [Result.OK, Result.CREDIT_LIMIT]
    assert world.session().state == SessionState.OPEN


# --- refusals -------------------------------------------------------------------------------------------------


def refused_update(opened: Opened, **others: bool) -> tuple[Counterparts, Outcome]:
    world = opened(300)
    world.start(ask(10, asked=100), ask(20, asked=50))
    world.topup(-150)
    return world, world.update(ask(10, asked=100, used=100), **others)


def test_a_refused_update_stays_successful_at_command_level(opened: Opened) -> None:
    """`on U the command stays 2001 with 4012 in the line`; other lines keep their holds."""
    world, refused = refused_update(opened)
    assert (refused.result, only(refused).result) == (Result.OK, Result.CREDIT_LIMIT)
    assert world.session().state == SessionState.OPEN
    assert world.money == (50, 50)


def test_a_command_level_failure_settles_everything_and_releases_every_hold(opened: Opened) -> None:
    """`A command-level failure of U settles everything and releases every hold`: a request without MSCC."""
    world, refused = refused_update(opened, single=True)
    assert refused.result == Result.CREDIT_LIMIT
    assert world.session().state != SessionState.OPEN
    assert world.money == (50, 0)


def test_a_refused_initial_that_leads_to_the_portal_is_a_success(opened: Opened) -> None:
    """`A refused I with REDIRECT or RESTRICT: 2001, FUI and Validity-Time, no units`; the session is open."""
    world = opened()
    started = world.start(ask(portal=True))
    assert (started.result, only(started).result, only(started).granted) == (Result.OK, Result.CREDIT_LIMIT, 0)
    assert world.session().state == SessionState.OPEN
    world.topup(1_000)
    assert only(world.update(ask())).granted == 100


def test_a_top_up_calls_for_the_sessions_on_the_portal(opened: Opened) -> None:
    """Its refusal carried an FUI: it is outstanding, so that the user is let out of the portal."""
    world = opened()
    world.start(ask(portal=True))
    world.topup(1_000)
    assert world.records[-1].reauthorize == ["final"]
    assert world.line().final


def test_an_initial_with_nothing_to_ask_opens_the_session(opened: Opened) -> None:
    """INITIAL may carry no MSCC at all: 2001, quota is asked for later."""
    world = opened()
    assert world.request(Phase.START, []).result == Result.OK
    assert world.session().state == SessionState.OPEN


def test_what_is_not_controlled_is_not_held(opened: Opened) -> None:
    """`uncontrolled = 4011`."""
    world = opened()
    started = world.start(ask(by=None, refusal=Result.NOT_APPLICABLE))
    assert (only(started).result, only(started).granted) == (Result.NOT_APPLICABLE, 0)
    assert world.money == (0, 0)


# --- free and emergency ---------------------------------------------------------------------------------------


def test_free_is_granted_and_counted_at_balance_zero(opened: Opened) -> None:
    """`free = price 0: granted, counted, also at balance 0`."""
    world = opened()
    assert only(world.start(ask(by=FREE, free=True))).granted == 100
    world.update(ask(used=70, by=FREE, free=True))
    assert (world.usage.used, world.usage.cost, world.line().total) == (70, 0, 70)


def test_free_is_granted_below_zero_and_under_credit_suspension(opened: Opened) -> None:
    """`... and under credit suspension`."""
    world = opened(-50, suspend_below=0, resume_at=0)
    assert world.account.state & SuspendReasons.CREDIT
    assert only(world.start(ask(by=FREE, free=True))).granted == 100
    assert world.start(ask(), session="b").result == Result.CREDIT_LIMIT


@pytest.mark.parametrize(
    "state", [SuspendReasons.BARRED, SuspendReasons.FRAUD, SuspendReasons.OPERATOR, SuspendReasons.CLOSED]
)
def test_an_emergency_is_never_refused(opened: Opened, state: SuspendReasons) -> None:
    """`Emergency is never refused`."""
    world = opened()
    world.settings(set_state=state)
    assert only(world.start(ask(by=FREE, free=True, emergency=True, unit=Kind.SECONDS))).granted == 100
