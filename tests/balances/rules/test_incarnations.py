"""charging.md section 3, incarnations: a Session-Id that is used again, and what is used inside an INITIAL."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from balances import keys
from balances.structs.blob import raw_of
from balances.structs.charge import Ask, Flag, Phase, Result
from balances.structs.posting import RestoredKey
from balances.structs.session import SessionState
from tests.balances.rules.account_harness import (
    ACCOUNT,
    HOUR,
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

FEE = ladder(money(1), fee=7)


def lost_and_restored(world: Counterparts) -> None:
    """Redis loses the account, and gets it back as PostgreSQL has it: with its sessions, and nothing held."""
    model = world.twins.model
    account, sessions = model.accounts.pop(ACCOUNT), model.sessions.pop(ACCOUNT, {})
    world.twins.delete(keys.account(ACCOUNT))
    for bucket in account.buckets:
        bucket.held = 0
    for session in sessions.values():
        for line in session.lines:
            line.hold, line.granted, line.due_ms = [], 0, 0
    packed = [
        RestoredKey(name, raw_of(msgspec.msgpack.encode(one)), world.now_ms + HOUR) for name, one in sessions.items()
    ]
    assert world.twins.open(account, sessions=packed) == "ok"


def asked(world: Counterparts, *asks: Ask, phase: Phase = Phase.UPDATE, **changes: Any) -> str:
    """How a request ends that is not answered."""
    charge = msgspec.structs.replace(
        world.sent[-1], phase=phase, asks=list(asks), end_to_end=999, key=f"{int(phase)}:77", number=77, **changes
    )
    status, outcome = world.twins.charge(charge)
    assert outcome is None
    return status


# --- a new incarnation ------------------------------------------------------------------------------------------


def test_a_session_id_used_again_after_an_orderly_end(opened: Opened) -> None:
    """A PBX: the next call under the same Session-Id is granted and charged like the first."""
    world = opened(1_000)
    for times in (1, 2, 3):
        assert only(world.start(ask(by=FEE), number=0)).granted == 100
        assert world.flagged(Flag.REUSED) == (times > 1)
        world.update(ask(used=40, by=FEE), number=1)
        assert world.stop(use(10, by=FEE), number=2).debited == 57
        assert world.session().incarnation == world.records[-1].incarnation == times
        assert world.money == (1_000 - 57 * times, 0)


def test_a_box_that_lost_its_sessions_counts_anew(opened: Opened) -> None:
    """It crashed without T: what it reports under the old numbers is charged."""
    world = opened(1_000)
    world.start(number=0)
    for number in range(1, 8):
        world.update(ask(used=10), number=number)
    assert world.money == (930, 100)
    assert only(world.start(number=0)).granted == 100
    assert world.flagged(Flag.REUSED)
    assert world.flagged(Flag.ABANDONED)
    assert world.money == (930, 100)
    for number in range(1, 8):
        assert only(world.update(ask(used=10), number=number)).granted == 100
    assert world.stop(use(5), number=8).debited == 75
    assert world.money == (855, 0)


def test_a_session_that_was_abandoned_begins_again(opened: Opened) -> None:
    world = opened(1_000)
    world.start(number=0)
    world.update(ask(used=10), number=1)
    world.wait(21 * MINUTE)
    assert world.expire() == "ok"
    assert world.session().state == SessionState.ABANDONED
    assert only(world.start(number=0)).granted == 100
    assert world.session().incarnation == 2
    world.stop(use(10), number=1)
    assert world.money == (980, 0)


def test_before_any_use_an_initial_only_replaces_the_holds(opened: Opened) -> None:
    world = opened(1_000)
    world.start(ask(asked=300), number=0)
    assert only(world.start(ask(asked=200), number=0)).granted == 200
    assert world.session().incarnation == 1
    assert not world.flagged(Flag.REUSED)
    assert world.money == (1_000, 200)


def test_an_equal_initial_holds_again_what_has_expired(opened: Opened) -> None:
    """Nothing was reported, and nothing is held any more: it is granted only with a hold."""
    world = opened(1_000)
    world.start(number=0)
    world.wait(21 * MINUTE)
    world.expire()
    assert world.money == (1_000, 0)
    assert only(world.start(number=0)).granted == 100
    assert (world.session().state, world.session().incarnation) == (SessionState.OPEN, 1)
    assert world.money == (1_000, 100)


def test_an_initial_for_somebody_else_begins_again_for_them(opened: Opened) -> None:
    """Who opens a session is charged for it, also of two subscribers of one account."""
    world = opened(1_000)
    world.start(number=0)
    assert only(world.start(number=0, subscriber="other")).granted == 100
    assert (world.session().subscriber, world.session().incarnation) == ("other", 2)
    assert world.money == (1_000, 100)


def test_only_an_initial_of_a_session_whose_termination_came_first_is_late(opened: Opened) -> None:
    world = opened(1_000)
    world.stop(use(30), number=1)
    for _ in range(3):
        assert world.start(number=0).result == Result.UNABLE
    assert world.money == (970, 0)
    assert world.session().incarnation == 1


def test_an_update_that_came_before_its_initial_is_of_the_same_incarnation(opened: Opened) -> None:
    world = opened(1_000)
    world.update(ask(used=30), number=1)
    assert only(world.start(number=0)).granted == 100
    assert world.session().incarnation == 1
    assert not world.flagged(Flag.REUSED)
    world.stop(use(5), number=2)
    assert world.money == (965, 0)


@pytest.mark.parametrize("restored", [False, True])
def test_the_second_incarnation_is_restored_with_its_account(opened: Opened, restored: bool) -> None:
    """Killed between I and U: numbers, lines and answers of both incarnations are as they were."""
    world = opened(1_000)
    world.start(number=0)
    world.update(ask(used=10), number=1)
    stopped = world.stop(use(10), number=2)
    stop = world.sent[-1]
    world.start(number=0)
    if restored:
        lost_and_restored(world)
    assert world.repeat(stop, resend=True) == stopped
    assert world.session().state == SessionState.OPEN
    assert only(world.update(ask(used=10), number=1)).granted == 100
    if restored:
        lost_and_restored(world)
    assert world.session().incarnation == 2
    world.stop(use(10), number=2)
    assert world.money == (960, 0)


# --- repeats across incarnations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 2, 3, 4, 5], ids=["I", "U", "U", "U", "T"])
@pytest.mark.parametrize("resend", [False, True], ids=["T clear", "T set"])
def test_repeats_of_the_old_incarnation_get_its_answers(opened: Opened, at: int, resend: bool) -> None:
    """Its last 4 answers and its I always, for the same End-to-End-Id."""
    world = opened(1_000)
    outcomes = [world.start(number=0)] + [world.update(ask(used=10), number=n) for n in range(1, 5)]
    outcomes.append(world.stop(use(10), number=5))
    old = list(world.sent)
    world.start(number=0)
    world.update(ask(used=20), number=1)
    before = world.money, len(world.records)
    world.wait(4 * MINUTE)
    assert world.repeat(old[at], resend=resend) == outcomes[at]
    assert (world.money, len(world.records)) == before
    assert world.session().state == SessionState.OPEN


def test_after_four_minutes_an_end_to_end_id_may_be_another_request(opened: Opened) -> None:
    """T clear, and the old answer is older than End-to-End-Ids are unique: it is the new session's termination."""
    world = opened(1_000)
    world.start(number=0)
    world.stop(use(10), number=1)
    old = world.sent[-1]
    world.start(number=0)
    world.wait(4 * MINUTE + 1)
    assert world.repeat(old).result == Result.OK
    assert world.session().state == SessionState.CLOSED
    assert world.money == (980, 0)


def test_an_initial_with_the_old_end_to_end_id_is_a_repeat_for_four_minutes(opened: Opened) -> None:
    world = opened(1_000)
    first = world.start(number=0)
    initial = world.sent[0]
    world.stop(use(10), number=1)
    world.wait(4 * MINUTE)
    assert world.repeat(initial) == first
    assert world.session().incarnation == 1
    world.wait(1)
    assert only(world.repeat(initial)).granted == 100
    assert world.session().incarnation == 2


def test_the_initial_is_answered_again_however_much_came_after_it(opened: Opened) -> None:
    world = opened(1_000)
    first = world.start(number=0)
    for number in range(1, 9):
        world.update(ask(used=10), number=number)
    assert world.repeat(world.sent[0], resend=True, end_to_end=5) == first
    assert world.repeat(world.sent[0]) == first
    assert world.session().incarnation == 1


def test_requests_of_the_new_incarnation_are_its_own(opened: Opened) -> None:
    """The same keys and contents as before, with End-to-End-Ids of their own: all are charged, and once."""
    world = opened(1_000)
    for times in (1, 2):
        for number, send in enumerate((world.start, world.update, world.update, world.stop)):
            answered = send(ask(used=10) if number else ask(), number=number)
            before = world.money
            assert world.repeat(resend=True) == answered
            assert world.money == before
        assert world.money == (1_000 - 30 * times, 0)


# --- use inside an INITIAL ----------------------------------------------------------------------------------------


def test_use_inside_an_initial_is_charged_once(opened: Opened) -> None:
    """Under the key of the INITIAL, flagged `unmatched`; and it is granted what it asks for."""
    world = opened(1_000)
    first = world.start(ask(used=30), number=0)
    assert (first.result, first.cost, grants(first)) == (Result.OK, 30, [100])
    assert world.flagged(Flag.UNMATCHED)
    assert world.money == (970, 100)
    for changes in ({}, {"resend": True}, {"end_to_end": 5}, {"end_to_end": 6, "resend": True}):
        assert world.repeat(**changes) == first
    assert world.money == (970, 100)
    assert world.stop(use(5), number=1).debited == 35
    assert world.money == (965, 0)


def test_use_inside_a_refused_initial_is_not_lost(opened: Opened) -> None:
    world = opened(10)
    refused = world.start(ask(used=30), number=0)
    assert (refused.result, refused.cost) == (Result.CREDIT_LIMIT, 30)
    assert world.money == (-20, 0)
    assert world.repeat(end_to_end=5) == refused
    assert world.money == (-20, 0)


def test_use_inside_a_late_initial_is_not_lost(opened: Opened) -> None:
    world = opened(1_000)
    world.stop(use(10), number=1)
    late = world.start(ask(used=30), number=0)
    assert (late.result, late.cost, grants(late)) == (Result.UNABLE, 30, [0])
    assert world.flagged(Flag.UNMATCHED)
    assert world.repeat(end_to_end=5) == late
    assert world.money == (960, 0)


def test_no_use_inside_an_initial_is_nothing_unusual(opened: Opened) -> None:
    world = opened(1_000)
    assert world.start(ask(used=0)).cost == 0
    assert not world.flagged(Flag.UNMATCHED)


# --- who it is charged to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.UPDATE, Phase.STOP])
def test_a_session_that_is_not_here_is_sought_before_anything_is_written(opened: Opened, phase: Phase) -> None:
    """`A U or T whose session the named account does not have writes nothing at first`."""
    world = opened(1_000)
    world.event(ask(asked=1))
    records = len(world.records)
    assert asked(world, use(5), phase=phase, session="gw;9", seek=True) == "elsewhere"
    assert (len(world.records), world.money) == (records, (999, 0))
    assert world.twins.sessions(ACCOUNT) == {}


@pytest.mark.parametrize("phase", [Phase.UPDATE, Phase.STOP])
def test_a_session_keeps_the_subscriber_it_was_opened_for(opened: Opened, phase: Phase) -> None:
    """The script says who that is and writes nothing; asked again for that one it settles, marked."""
    world = opened(1_000)
    world.start(number=0)
    records = len(world.records)
    assert asked(world, use(5), phase=phase, subscriber="other") == "other"
    assert (len(world.records), world.money) == (records, (1_000, 100))
    world.request(phase, [use(5)], number=1, flags=int(Flag.OTHER_SUBSCRIBER))
    assert world.flagged(Flag.OTHER_SUBSCRIBER)
    assert world.records[-1].subscriber == "sub"


# --- in any order -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_back_each_report_is_paid_once(opened: Opened, seed: int) -> None:
    """Sessions under one Session-Id, ended in order or not, with retransmissions, expiries and a lost Redis between:
    what is debited is what was reported, however often it was sent."""
    chance = random.Random(seed)
    world = opened(100_000)
    reported = 0
    for _ in range(6):
        world.start(number=0)
        here = [world.sent[-1]]
        for number in range(1, chance.randint(2, 5)):
            amount = chance.randint(1, 90)
            world.update(ask(used=amount), number=number)
            here.append(world.sent[-1])
            reported += amount
            for again in chance.sample(here[-4:], chance.randint(0, min(2, len(here)))):
                world.repeat(again, resend=True)
                world.wait(chance.randint(0, 30_000))
            if chance.random() < 0.2:
                lost_and_restored(world)
            elif chance.random() < 0.1:
                world.wait(25 * MINUTE)
                world.expire()
        if chance.random() < 0.6:
            amount = chance.randint(0, 90)
            world.stop(use(amount), number=len(here))
            reported += amount
            world.repeat(resend=True)
        if chance.random() < 0.5:  # what was on its way while the next session began
            last = here[-1]
            world.start(number=0)
            world.repeat(last, resend=True)
            world.stop(use(3), number=1)
            reported += 3
    world.wait(25 * MINUTE)
    world.expire()
    assert world.money == (100_000 - reported, 0)
