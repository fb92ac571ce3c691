"""charging.md section 7: states, thresholds, suspension and the way back; versioned settings; postings."""

from __future__ import annotations

import pytest

from balances.structs.account import MAIN, SuspendReasons
from balances.structs.charge import Result
from balances.structs.posting import Posting
from tariffs.units import EXACT_MAX, Kind
from tests.balances.rules.account_harness import (
    HOUR,
    MINUTE,
    Counterparts,
    ask,
    bundle,
    grants,
    ladder,
    money,
    only,
    use,
)
from tests.balances.rules.conftest import Opened

SETTLING = (
    SuspendReasons.CREDIT,
    SuspendReasons.BARRED,
    SuspendReasons.FRAUD,
    SuspendReasons.OPERATOR,
    SuspendReasons.CLOSED,
    SuspendReasons.GRACE,
    SuspendReasons.CREATED,
    SuspendReasons.OVERDUE,
)


def suspend(world: Counterparts, state: SuspendReasons) -> None:
    if state == SuspendReasons.CREDIT:  # nobody sets it: it follows from the balance
        world.settings(suspend_below=EXACT_MAX - 1, resume_at=EXACT_MAX - 1)
    else:
        world.settings(set_state=state)
    assert world.account.state == state


def threshold_events(world: Counterparts) -> list[str]:
    return [crossing.kind for record in world.records for crossing in record.threshold_events]


def last_events(world: Counterparts) -> list[str]:
    return [crossing.kind for crossing in world.records[-1].threshold_events]


# --- states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        SuspendReasons.BARRED,
        SuspendReasons.FRAUD,
        SuspendReasons.OPERATOR,
        SuspendReasons.CLOSED,
        SuspendReasons.OVERDUE,
    ],
)
@pytest.mark.parametrize("free", [False, True], ids=["paid", "free"])
def test_a_barred_account_is_denied(opened: Opened, state: SuspendReasons, free: bool) -> None:
    """`barred / fraud / operator (4010)`: free lines too, they are served under credit suspension only."""
    world = opened(1_000)
    assert world.settings(set_state=state) == "ok"
    denied = world.start(ask(free=free, by=ladder(money(0 if free else 1))))
    assert (denied.result, only(denied).result, only(denied).granted) == (Result.DENIED, Result.DENIED, 0)
    assert world.money == (1_000, 0)


@pytest.mark.parametrize("state", SETTLING)
def test_no_state_ever_refuses_settlement(opened: Opened, state: SuspendReasons) -> None:
    """`No state ever refuses settlement`."""
    world = opened(1_000)
    world.start(ask(asked=100))
    suspend(world, state)
    assert only(world.update(use(40))).result == Result.NO_GRANT
    assert world.stop(use(20)).result == Result.OK
    assert world.money == (940, 0)


@pytest.mark.parametrize(
    ("state", "result"),
    [(SuspendReasons.CREDIT, Result.CREDIT_LIMIT), (SuspendReasons.BARRED, Result.DENIED)],
    ids=["credit", "barred"],
)
def test_a_suspended_account_settles_and_refuses_the_new_grant(
    opened: Opened, state: SuspendReasons, result: Result
) -> None:
    """`credit` 4012, `barred` 4010; in the line, U stays 2001 (section 5)."""
    world = opened(1_000)
    world.start(ask(asked=100))
    suspend(world, state)
    update = world.update(ask(asked=100, used=40))
    assert (update.result, only(update).result) == (Result.OK, result)
    assert world.money == (960, 0)


def test_under_credit_suspension_the_service_leads_to_its_portal(opened: Opened) -> None:
    """`new grants 4012 or the service's final action, portal and free lines still served`."""
    world = opened(10, suspend_below=50, resume_at=50)
    assert world.account.state == SuspendReasons.CREDIT
    started = world.start(ask(10, portal=True), ask(20, free=True, by=ladder(money(0))))
    assert started.result == Result.OK
    assert [line.result for line in started.lines] == [Result.CREDIT_LIMIT, Result.OK]
    assert grants(started) == [0, 100]


def test_a_top_up_clears_only_the_credit_suspension(opened: Opened) -> None:
    """`Top-up clears only credit`."""
    world = opened(10, suspend_below=50, resume_at=100)
    world.settings(set_state=SuspendReasons.OPERATOR)
    assert world.account.state == SuspendReasons.CREDIT | SuspendReasons.OPERATOR
    world.topup(1_000)
    assert world.account.state == SuspendReasons.OPERATOR
    assert world.start().result == Result.DENIED


# --- thresholds -----------------------------------------------------------------------------------------------


def test_a_hold_never_crosses(opened: Opened) -> None:
    """[A hold suspending the call just granted, for ever.]"""
    world = opened(1_000, suspend_below=500, resume_at=500)
    assert only(world.start(ask(asked=1_000))).granted == 1_000
    assert (world.account.state, threshold_events(world)) == (SuspendReasons.ACTIVE, [])
    assert only(world.update(ask(asked=1_000, used=100))).granted == 900
    world.wait(HOUR)
    world.expire()
    assert world.money == (900, 0)
    assert (world.account.state, threshold_events(world)) == (SuspendReasons.ACTIVE, [])


def test_the_release_of_a_hold_never_resumes(opened: Opened) -> None:
    """`Placing or releasing a hold never crosses`."""
    world = opened(1_000, suspend_below=500, resume_at=800)
    world.start(ask(asked=900))
    world.update(use(501))
    assert threshold_events(world) == ["suspend"]
    assert world.account.state == SuspendReasons.CREDIT


@pytest.mark.parametrize(("used", "suspended"), [(500, False), (501, True)])
def test_suspension_is_below_the_threshold(opened: Opened, used: int, suspended: bool) -> None:
    """`suspend_below`: not at it."""
    world = opened(1_000, suspend_below=500, resume_at=600)
    world.start(ask(asked=600))
    world.stop(use(used))
    assert (world.account.state == SuspendReasons.CREDIT) == suspended


def test_a_crossing_is_emitted_once(opened: Opened) -> None:
    """`once per crossing in the same call`, down and up, and down again."""
    world = opened(1_000, suspend_below=500, resume_at=600)
    world.start(ask(asked=900))
    world.update(use(510))
    assert last_events(world) == ["suspend"]
    world.update(use(10))
    assert last_events(world) == []
    world.topup(119)
    assert (last_events(world), world.account.state) == ([], SuspendReasons.CREDIT)
    world.topup(1)
    assert (last_events(world), world.account.state) == (["resume"], SuspendReasons.ACTIVE)
    world.topup(1)
    assert last_events(world) == []
    world.update(use(200))
    assert threshold_events(world) == ["suspend", "resume", "suspend"]


def test_the_credit_limit_is_not_added(opened: Opened) -> None:
    """`holds not subtracted, credit limit not added`."""
    world = opened(100, suspend_below=0, resume_at=0, credit_limit=1_000)
    world.start(ask(asked=500))
    world.update(use(100))
    assert world.account.state == SuspendReasons.ACTIVE
    world.update(use(1))
    assert world.account.state == SuspendReasons.CREDIT


def test_a_negative_threshold_uses_the_credit_limit_up(opened: Opened) -> None:
    """Compared with the settled balance, which may be below zero."""
    world = opened(0, suspend_below=-100, resume_at=-50, credit_limit=500)
    world.start(ask(asked=200))
    world.update(use(100))
    assert world.account.state == SuspendReasons.ACTIVE
    world.update(use(1))
    assert threshold_events(world) == ["suspend"]
    world.topup(51)
    assert threshold_events(world) == ["suspend", "resume"]


def test_the_settled_balance_is_of_all_money(opened: Opened) -> None:
    """`the settled money balance`: a bonus is money, a bundle is not."""
    world = opened(100, suspend_below=500, resume_at=500)
    assert world.account.state == SuspendReasons.CREDIT
    world.grant_bucket(Kind.OCTETS, 10_000)
    assert world.account.state == SuspendReasons.CREDIT
    world.grant_bucket(Kind.MONEY, 400)
    assert world.account.state == SuspendReasons.ACTIVE


def test_an_expiry_crosses(opened: Opened) -> None:
    """`checked after each debit, credit, expiry, limit change, in the same call`."""
    world = opened(100, suspend_below=200, resume_at=200)
    world.grant_bucket(Kind.MONEY, 400, until_ms=world.now_ms + MINUTE)
    assert world.account.state == SuspendReasons.ACTIVE
    world.wait(MINUTE)
    world.expire("")
    assert last_events(world) == ["suspend"]
    assert world.account.state == SuspendReasons.CREDIT


def test_a_posting_down_crosses(opened: Opened) -> None:
    """A fee is a debit like any other."""
    world = opened(1_000, suspend_below=500, resume_at=500)
    world.post(Posting(MAIN, Kind.MONEY, -501, "fee", "fee"))
    assert last_events(world) == ["suspend"]


def test_an_event_crosses(opened: Opened) -> None:
    """A debit at once."""
    world = opened(1_000, suspend_below=500, resume_at=500)
    world.event(ask(asked=501))
    assert last_events(world) == ["suspend"]


def test_a_change_of_the_threshold_crosses(opened: Opened) -> None:
    """A versioned field like the limit: what it makes of the balance is seen in the same call."""
    world = opened(1_000)
    world.settings(suspend_below=2_000, resume_at=2_000)
    assert (world.account.state, last_events(world)) == (SuspendReasons.CREDIT, ["suspend"])
    world.settings(suspend_below=0, resume_at=0)
    assert (world.account.state, last_events(world)) == (SuspendReasons.ACTIVE, ["resume"])


def test_the_answer_says_that_the_balance_is_low(opened: Opened) -> None:
    """Low-Balance-Indication: settled balance below `resume_at`."""
    world = opened(1_000, suspend_below=100, resume_at=500)
    assert not world.start(ask(asked=900)).low
    assert not world.update(ask(asked=100, used=500)).low
    assert world.update(ask(asked=100, used=1)).low


# --- settings -------------------------------------------------------------------------------------------------


def test_settings_change_only_the_revision_they_name(opened: Opened) -> None:
    """`versioned fields ... changed by a Lua operation (If-Match)`."""
    world = opened(1_000)
    rev = world.account.rev
    assert world.settings(rev, credit_limit=10) == "ok"
    assert world.account.rev > rev
    before = world.account
    assert world.settings(rev, credit_limit=99) == "revision"
    assert world.account == before
    assert world.settings(world.account.rev, credit_limit=20) == "ok"
    assert world.account.credit_limit == 20


def test_credit_suspension_set_by_hand_follows_the_balance(opened: Opened) -> None:
    """`credit (automatic ...)`: set by hand while the balance is above, it is gone in the same call."""
    world = opened(1_000)
    assert world.settings(set_state=SuspendReasons.CREDIT) == "ok"
    assert world.account.state == SuspendReasons.ACTIVE


def test_the_way_back_is_not_below_the_way_down(opened: Opened) -> None:
    """`resume_at >= suspend_below`."""
    world = opened(1_000)
    before = world.account
    assert world.settings(suspend_below=100, resume_at=99) == "refused"
    assert world.account == before


def test_a_lower_limit_leaves_holds_and_refuses_grants(opened: Opened) -> None:
    """`a lower limit leaves holds, refuses grants`."""
    world = opened(100, credit_limit=500)
    world.start(ask(asked=400), session="a")
    world.settings(credit_limit=0)
    assert world.money == (100, 400)
    assert world.start(ask(asked=1), session="b").result == Result.CREDIT_LIMIT
    world.stop(use(400), session="a")
    assert world.money == (-300, 0)


def test_a_lower_limit_sends_rar(opened: Opened) -> None:
    """`a lower limit ... sends RAR`; a higher one is money that came in."""
    world = opened(100, credit_limit=500)
    world.start(ask(asked=400))
    world.settings(credit_limit=0)
    assert world.records[-1].reauthorize == ["all"]
    world.settings(credit_limit=900)
    assert world.records[-1].reauthorize == ["final"]


# --- postings -------------------------------------------------------------------------------------------------


def test_a_posting_is_made_once_per_key(opened: Opened) -> None:
    """`HTTP Idempotency-Keys ... per caller and account`: same key, same body, same answer."""
    world = opened()
    first = world.topup(100, key="k")
    assert world.status == "ok"
    world.wait(MINUTE)
    assert world.topup(100, key="k") == first
    assert (world.status, world.money) == ("again", (100, 0))


def test_another_body_under_the_same_key_is_a_conflict(opened: Opened) -> None:
    """And nothing moves."""
    world = opened()
    world.topup(100, key="k")
    records = len(world.records)
    world.topup(200, key="k")
    assert (world.status, world.money, len(world.records)) == ("conflict", (100, 0), records)


def test_all_postings_are_made_or_none(opened: Opened) -> None:
    """All or none, with no record of a refusal that would be a change."""
    world = opened(100)
    before = world.account
    bonus = Posting(-1, Kind.MONEY, 50, "topup", "bonus")
    world.post(bonus, Posting(MAIN, Kind.MONEY, -101, "transit", "transfer"), own_only=True)
    assert (world.status, world.account.buckets) == ("refused", before.buckets)


def test_a_transfer_uses_own_money_only(opened: Opened) -> None:
    """`own money only (amount - held; no limit, no bonus)`."""
    world = opened(100, credit_limit=1_000)
    world.start(ask(asked=30))
    world.grant_bucket(Kind.MONEY, 500, priority=200)
    transfer = Posting(MAIN, Kind.MONEY, -71, "transit", "transfer")
    world.post(transfer, own_only=True)
    assert (world.status, world.money) == ("refused", (100, 30))
    transfer.amount = -70
    world.post(transfer, own_only=True)
    assert (world.status, world.money) == ("ok", (30, 30))


@pytest.mark.parametrize("kind", [Kind.MONEY, Kind.OCTETS])
def test_no_bucket_but_the_main_one_is_posted_below_what_is_held(opened: Opened, kind: Kind) -> None:
    """`Only the main money bucket may go below zero`; a hold: `nobody else can transfer, refund or expire it`."""
    world = opened(1_000)
    of = world.grant_bucket(kind, 100)
    world.start(ask(asked=60, by=ladder(bundle(Kind.OCTETS), money(1))))
    assert world.bucket(of).held == 60
    for amount in (-101, -41):
        world.post(Posting(of, kind, amount, "adjustment", "fix"))
        assert (world.status, world.bucket(of).amount) == ("refused", 100)
    world.post(Posting(of, kind, -40, "adjustment", "fix"))
    assert (world.status, world.bucket(of).amount) == ("ok", 60)


def test_a_fee_takes_the_main_bucket_below_zero(opened: Opened) -> None:
    """The main money bucket may."""
    world = opened(100)
    world.post(Posting(MAIN, Kind.MONEY, -150, "fee", "fee"))
    assert (world.status, world.money) == ("ok", (-50, 0))


def test_an_amount_that_would_pass_2_to_the_53_is_refused(opened: Opened) -> None:
    """`an operation that would is refused` (section 2): of a charge nothing is written either."""
    world = opened()
    world.topup(-EXACT_MAX)
    assert world.money == (-EXACT_MAX, 0)
    world.topup(-1)
    assert (world.status, world.money) == ("refused", (-EXACT_MAX, 0))
