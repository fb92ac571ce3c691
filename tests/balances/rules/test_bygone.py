"""What is long ago, late or out of room: forgetting, clocks behind, expiries met, sessions that are full."""

from __future__ import annotations

import pytest

from balances.keys import event_key
from balances.structs.account import MAIN, Bucket
from balances.structs.charge import Action
from balances.structs.posting import AccountSettings, Expire, Post, Posting
from balances.structs.session import SESSION_LINES_MAX
from tariffs.units import Kind
from tests.balances.rules.account_harness import ACCOUNT, HOUR, Counterparts, ask, bundle, ladder, money, use

MUCH = 10**9


@pytest.fixture
def rich(redis_url: str) -> Counterparts:
    world = Counterparts(redis_url)
    post(world, "rich", Posting(0, 0, MUCH, "topup", "topup"))
    return world


def post(world: Counterparts, key: str, *postings: Posting) -> str:
    moved = Post(ACCOUNT, key, "f", world.now_ms, 10**9, "me", "", "", list(postings))
    return world.twins.post(moved)[0]


def main(world: Counterparts) -> Bucket:
    account = world.twins.account(ACCOUNT)
    assert account is not None
    return next(bucket for bucket in account.buckets if bucket.id == MAIN)


def forgotten_in_two_seconds(world: Counterparts) -> None:
    """The last request, again, when the session would be forgotten had it counted from its first."""
    last, before = world.sent[-1], main(world).amount
    world.now_ms += 2_000
    world.twins.expire(Expire(ACCOUNT, "gw;1", world.now_ms))
    world.repeat(last, resend=True)
    assert main(world).amount == before


def test_an_unknown_session_is_remembered_from_its_last_report(rich: Counterparts) -> None:
    """charging.md section 3: kept until closed + 1 h, and a report is charged once."""
    rich.update(use(100))
    rich.now_ms += HOUR - 1_000
    rich.update(use(100))
    forgotten_in_two_seconds(rich)


def test_a_closed_session_is_remembered_from_its_last_late_report(rich: Counterparts) -> None:
    rich.start()
    rich.stop(use(10))
    rich.now_ms += HOUR - 1_000
    rich.update(use(100), number=7)
    forgotten_in_two_seconds(rich)


def test_supervision_behind_the_account_suspends_nobody(rich: Counterparts) -> None:
    """`now_ms never decreases`: a bonus that is valid by now was not yet when the sweep thinks it is."""
    twins = rich.twins
    twins.settings(AccountSettings(ACCOUNT, rich.now_ms, None, suspend_below=0, resume_at=0))
    rich.start(ask(1, 100, validity_ms=60_000))
    post(rich, "gone", Posting(0, 0, -MUCH - 5, "adjustment", "adjustment"))
    rich.now_ms += 300_000
    post(rich, "bonus", Posting(-1, 0, 10**6, "topup", "bonus", from_ms=rich.now_ms))
    account = twins.account(ACCOUNT)
    assert account is not None
    assert account.state == 0
    twins.expire(Expire(ACCOUNT, "gw;1", rich.now_ms - 120_000))
    account = twins.account(ACCOUNT)
    assert account is not None
    assert account.state == 0
    assert twins.model.ledger[-1].record.threshold_events == []


def test_use_reported_at_the_expiry_it_was_told_is_the_holds(redis_url: str) -> None:
    """Validity-Time ends with the bucket: who obeys it reports then, and used it before."""
    world = Counterparts(redis_url)
    bonus = Posting(-1, 0, 500, "topup", "bonus", priority=1, until_ms=world.now_ms + 60_000)
    post(world, "both", Posting(0, 0, 1_000, "topup", "topup"), bonus)
    assert world.start(ask(10, 100)).lines[0].validity_ms == 60_000
    world.now_ms += 60_000
    world.update(use(100))
    assert main(world).amount == 1_000


def test_a_line_that_is_asked_for_does_not_make_room_for_another(rich: Counterparts) -> None:
    """Its hold would belong to no session any more, for ever (section 10: held = sum of live holds)."""
    rich.start(ask(1, 100))
    rich.now_ms += 1_000
    rich.update(use(10, 1))
    group = 2
    while group <= SESSION_LINES_MAX:
        rich.now_ms += 1_000
        more = [ask(group + at, 100) for at in range(min(16, SESSION_LINES_MAX - group + 1))]
        group += len(more)
        rich.update(*more)
    rich.now_ms += 1_000
    rich.update(ask(1, 100), ask(9_999, 100))
    rich.stop(use(5, 1))
    assert main(rich).held == 0


def test_refunds_into_a_bucket_that_is_gone_share_one(rich: Counterparts) -> None:
    bought = Posting(-1, Kind.UNITS, 1_000, "topup", "b", priority=1, until_ms=rich.now_ms + 60_000)
    post(rich, "bundle", bought)
    rich.event(ask(10, 500, unit=Kind.UNITS, by=ladder(bundle(Kind.UNITS), money(1))), number=0)
    rich.now_ms += 120_000
    for number in range(1, 6):
        until_ms = rich.now_ms + HOUR
        one = ask(10, 1, unit=Kind.UNITS)
        rich.event(one, action=Action.REFUND, number=number, refund_of=event_key("sms;1", 0), refund_until_ms=until_ms)
    account = rich.twins.account(ACCOUNT)
    assert account is not None
    assert [bucket.amount for bucket in account.buckets if bucket.name == "refund"] == [5]
    assert f"{ACCOUNT}\n" in rich.twins.model.due, "and it expires by itself"
