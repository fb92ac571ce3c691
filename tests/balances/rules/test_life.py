"""charging.md section 16: created, active at first use, grace with an end, closed with what it has, reopened."""

from __future__ import annotations

import pytest

from balances.structs.account import MAIN, Bucket, SuspendReasons
from balances.structs.charge import Action, Result
from balances.structs.posting import ClosingRest, Posting
from balances.structs.record import CounterAccount
from balances.structs.thresholds import Crossing
from tariffs.units import Kind
from tests.balances.rules.account_harness import HOUR, Counterparts, ask, bundle, ladder, money, only, use
from tests.balances.rules.conftest import Opened

MIXED = ladder(bundle(Kind.OCTETS), money(1))


def crossings(world: Counterparts) -> list[tuple[str, str]]:
    return [(one.kind, one.of) for record in world.records for one in record.threshold_events]


def legs(world: Counterparts) -> list[tuple[int, int, str]]:
    return [(one.bucket, one.amount, one.counter_account) for one in world.records[-1].entries]


# --- created ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["grant", "event", "use of nothing granted"])
def test_the_first_use_activates_once(opened: Opened, by: str) -> None:
    world = opened(1_000, state=SuspendReasons.CREATED)
    generation = world.account.generation
    assert world.account.state == SuspendReasons.CREATED
    world.wait(HOUR)
    if by == "grant":
        world.start(ask(asked=10))
    elif by == "event":
        world.event(ask(asked=1))
    else:
        world.update(use(5))
    account = world.account
    assert (account.state, account.activated_ms) == (SuspendReasons.ACTIVE, world.now_ms)
    assert crossings(world) == [("activated", "life")]
    assert account.generation == generation  # the network may do what it might before
    world.event(ask(asked=1), session="sms;2")
    assert crossings(world) == [("activated", "life")]


def test_what_is_no_use_activates_nothing(opened: Opened) -> None:
    world = opened(state=SuspendReasons.CREATED)
    assert world.start(ask(asked=10)).result == Result.CREDIT_LIMIT
    world.topup(5)
    world.event(ask(asked=1), action=Action.CHECK)
    world.settings(credit_limit=0)
    assert (world.account.state, world.account.activated_ms) == (SuspendReasons.CREATED, 0)


def test_by_hand_it_is_active_before_it_is_used(opened: Opened) -> None:
    world = opened(state=SuspendReasons.CREATED)
    world.settings(clear_state=SuspendReasons.CREATED)
    assert (world.account.state, world.account.activated_ms) == (SuspendReasons.ACTIVE, world.now_ms)
    assert world.records[-1].threshold_events == [Crossing("activated", "life", "", 0, 0)]


# --- grace --------------------------------------------------------------------------------------------------------


def test_in_grace_it_is_served_and_at_its_end_no_more(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=100))
    generation = world.account.generation
    world.settings(set_state=SuspendReasons.GRACE, grace_until_ms=world.now_ms + HOUR)
    assert world.records[-1].reauthorize == []  # the network may do what it might before
    assert only(world.update(ask(asked=100, used=50))).granted == 100
    world.topup(500)
    assert world.account.state == SuspendReasons.GRACE
    world.wait(HOUR)
    ended = world.update(ask(asked=100, used=100))
    assert only(ended).result == Result.DENIED
    assert (world.money[0], world.account.state) == (1_350, SuspendReasons.OVERDUE)
    assert (world.records[-1].threshold_events[0].kind, world.account.generation) == ("overdue", generation + 1)
    assert world.records[-1].generation == world.account.generation


def test_supervision_ends_it_where_nobody_calls(opened: Opened) -> None:
    world = opened(1_000)
    world.settings(set_state=SuspendReasons.GRACE, grace_until_ms=world.now_ms + HOUR)
    rev = world.account.rev
    world.wait(HOUR - 1)
    assert world.expire("") == "later"
    world.wait(1)
    assert world.expire("") == "ok"
    assert (world.account.state, world.account.grace_until_ms, world.account.rev) == (
        SuspendReasons.OVERDUE,
        0,
        rev + 1,
    )
    assert crossings(world) == [("overdue", "life")]
    assert world.event(ask(asked=1)).result == Result.DENIED
    world.settings(clear_state=SuspendReasons.OVERDUE)
    assert world.records[-1].reauthorize == ["final"]
    assert world.event(ask(asked=1), session="sms;2").result == Result.OK


def test_an_event_at_its_end_is_refused(opened: Opened) -> None:
    """Whichever call comes first: nothing is sold after the end."""
    world = opened(1_000)
    world.settings(set_state=SuspendReasons.GRACE, grace_until_ms=world.now_ms + HOUR)
    world.wait(HOUR)
    assert world.event(ask(asked=1)).result == Result.DENIED
    assert world.money == (1_000, 0)


def test_a_grace_that_is_taken_back_has_no_end(opened: Opened) -> None:
    world = opened(1_000)
    world.settings(set_state=SuspendReasons.GRACE, grace_until_ms=world.now_ms + HOUR)
    world.settings(clear_state=SuspendReasons.GRACE)
    assert world.account.grace_until_ms == 0
    world.wait(2 * HOUR)
    assert world.expire("") == "gone"
    assert world.account.state == SuspendReasons.ACTIVE


# --- closed -------------------------------------------------------------------------------------------------------


def test_while_anything_is_held_it_is_not_closed(opened: Opened) -> None:
    world = opened()
    octets = world.grant_bucket(Kind.OCTETS, 50)
    world.start(ask(asked=10, by=MIXED))
    for rest in ClosingRest:
        world.close(rest)
        assert world.status == "held"
    world.stop(use(10, by=MIXED))
    world.close(ClosingRest.WRITE_OFF)
    assert (world.status, legs(world)) == ("ok", [(octets, -40, "write-off")])


def test_a_balance_does_not_vanish(opened: Opened) -> None:
    world = opened(100)
    world.close()
    assert (world.status, world.account.state, world.money) == ("remains", SuspendReasons.ACTIVE, (100, 0))


def test_own_money_is_paid_out_and_gifts_are_written_off(opened: Opened) -> None:
    world = opened(100, credit_limit=1_000)
    own = world.grant_bucket(Kind.MONEY, 30)
    bonus = world.grant_bucket(Kind.MONEY, 20, bonus=True)
    octets = world.grant_bucket(Kind.OCTETS, 50)
    posted = world.close(ClosingRest.PAYOUT)
    assert posted is not None
    assert sorted(legs(world)) == [
        (MAIN, -100, "payout"),
        (own, -30, "payout"),
        (bonus, -20, "write-off"),
        (octets, -50, "write-off"),
    ]
    assert (posted.balance, world.account.state) == (0, SuspendReasons.CLOSED)
    assert [(one.id, one.amount) for one in world.account.buckets] == [(MAIN, 0)]
    assert (world.records[-1].kind, world.records[-1].generation) == ("close", world.account.generation)


def test_a_merge_says_what_left(opened: Opened) -> None:
    """Each bucket as it was, a debt too, so that the other account gets the same; nothing is paid out or written off
    (charging.md section 17). Empty ones are not named."""
    world = opened(-40, credit_limit=1_000)
    bonus = world.grant_bucket(Kind.MONEY, 20, bonus=True)
    octets = world.grant_bucket(Kind.OCTETS, 50)
    before = {one.id: one for one in world.account.buckets}
    world.close(ClosingRest.TRANSIT)
    assert sorted(legs(world)) == [(MAIN, 40, "transit"), (bonus, -20, "transit"), (octets, -50, "transit")]
    assert {one.id: one for one in world.records[-1].left} == before
    assert [(one.id, one.amount) for one in world.account.buckets] == [(MAIN, 0)]
    world.close(ClosingRest.TRANSIT)
    assert (world.status, world.records[-1].left) == ("ok", [])


def test_a_merge_loses_no_field_of_a_bucket() -> None:
    """What a bucket is goes into the posting that makes it anew (balances/ledger/transfers.py); `is_part` stands for
    `part_of`. What it is rounded by begins anew with it."""
    lost = {*Bucket.__struct_fields__} - {*Posting.__struct_fields__}
    assert lost == {"id", "held", "filled", "part_of", "rest"}


def test_a_debt_is_never_paid_out(opened: Opened) -> None:
    world = opened(100)
    world.grant_bucket(Kind.MONEY, 30)
    world.post(Posting(MAIN, Kind.MONEY, -140, "adjustment", "adjustment"))
    world.close(ClosingRest.PAYOUT)
    assert (world.status, world.money) == ("remains", (-40, 0))
    world.close(ClosingRest.WRITE_OFF)
    assert (world.status, world.money) == ("ok", (0, 0))


def test_a_closed_account_is_used_no_more_and_settles_what_comes_late(opened: Opened) -> None:
    world = opened(100)
    world.start(ask(asked=10))
    world.stop(use(10))
    world.close(ClosingRest.PAYOUT)
    assert world.start(ask(asked=10), session="gw;2").result == Result.DENIED
    posted = world.topup(5)
    assert (world.status, posted and posted.result) == ("refused", Result.DENIED)
    world.stop(use(7), session="gw;3")
    assert world.money == (-7, 0)
    world.close(ClosingRest.WRITE_OFF)
    assert (world.status, legs(world)) == ("ok", [(MAIN, 7, "write-off")])
    assert world.records[-1].generation == 0  # it was closed before


def test_reopened_it_is_served_again(opened: Opened) -> None:
    world = opened()
    world.close()
    rev = world.account.rev
    world.settings(clear_state=SuspendReasons.CLOSED)
    assert (world.account.state, world.account.rev) == (SuspendReasons.ACTIVE, rev + 1)
    world.topup(50)
    assert only(world.start(ask(asked=10))).granted == 10


def test_it_is_closed_once_per_key(opened: Opened) -> None:
    world = opened(100)
    first = world.close(ClosingRest.PAYOUT, key="k")
    assert (world.close(ClosingRest.PAYOUT, key="k"), world.status) == (first, "again")
    assert (world.close(ClosingRest.WRITE_OFF, key="k"), world.status) == (None, "conflict")
    paid = [one for record in world.records for one in record.entries if one.counter_account == CounterAccount.PAYOUT]
    assert sum(one.amount for one in paid) == -100


# --- bonus, member ------------------------------------------------------------------------------------------------


def test_a_bonus_pays_for_use_and_goes_nowhere(opened: Opened) -> None:
    """charging.md section 5: transfer and payout use own money only."""
    world = opened(100)
    bonus = world.grant_bucket(Kind.MONEY, 50, bonus=True)
    assert world.transfer(bonus, MAIN, 1) is not None
    assert (world.status, world.bucket(bonus).amount) == ("refused", 50)
    world.post(Posting(bonus, Kind.MONEY, -1, "payout", "payout"), own_only=True)
    assert world.status == "refused"
    world.post(Posting(bonus, Kind.MONEY, -1, "adjustment", "adjustment"))
    assert (world.status, world.bucket(bonus).amount) == ("ok", 49)
    world.event(ask(asked=49))
    assert world.money == (100, 0)


def test_a_bucket_of_one_member_pays_for_nobody_else(opened: Opened) -> None:
    world = opened(100)
    his = world.grant_bucket(Kind.MONEY, 50, member="anna")
    assert only(world.start(ask(asked=500), subscriber="ben")).granted == 100
    world.stop(use(100), subscriber="ben")
    assert (world.money, world.bucket(his).amount) == ((0, 0), 50)
    assert only(world.start(ask(asked=500), subscriber="anna", session="gw;2")).granted == 50
    world.stop(use(50), subscriber="anna", session="gw;2")
    assert (world.money, world.has_bucket(his) and world.bucket(his).amount) == ((0, 0), 0)
    assert world.event(ask(asked=1), subscriber="ben").result == Result.CREDIT_LIMIT
