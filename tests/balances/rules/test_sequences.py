"""charging.md section 3, late and odd order: never debits twice, never loses use, never leaves a hold."""

from __future__ import annotations

import pytest

from balances.structs.charge import Flag, Result
from balances.structs.session import SessionState
from tests.balances.rules.account_harness import FREE, HOUR, MINUTE, Counterparts, ask, only, use
from tests.balances.rules.conftest import Opened


def test_a_session_from_beginning_to_end(opened: Opened) -> None:
    """The ordinary case: I holds, U settles and holds anew, T settles and releases."""
    world = opened(1_000)
    started = world.start(ask(asked=100))
    assert (started.result, only(started).granted, started.cost) == (Result.OK, 100, 0)
    assert world.money == (1_000, 100)
    updated = world.update(ask(asked=200, used=80))
    assert (only(updated).granted, updated.cost, updated.debited) == (200, 80, 80)
    assert world.money == (920, 200)
    stopped = world.stop(use(150))
    assert (stopped.result, only(stopped).granted, stopped.cost, stopped.debited) == (Result.OK, 0, 150, 230)
    assert world.money == (770, 0)
    assert world.session().state == SessionState.CLOSED


def test_a_late_initial_after_the_termination_holds_nothing(opened: Opened) -> None:
    """`T before I's answer (tombstone; the late I holds nothing and gets 5012)`."""
    world = opened(1_000)
    assert world.stop(use(30), number=1).result == Result.SESSION_UNKNOWN
    assert world.money == (970, 0)
    late = world.start(number=0)
    assert late.result == Result.UNABLE
    assert sum(line.granted for line in late.lines) == 0
    assert world.money == (970, 0)


def test_a_retransmitted_initial_after_an_ordinary_termination_holds_nothing(opened: Opened) -> None:
    """`Only an I of a session whose T came first is late`, but with T set it begins nothing anew either."""
    world = opened(1_000)
    world.start()
    world.stop(use(30))
    assert world.start(number=5, resend=True).result == Result.UNABLE
    assert world.money == (970, 0)


def test_an_update_after_the_termination_is_charged_late(opened: Opened) -> None:
    """`U after T (charged late, no hold, 5002)`."""
    world = opened(1_000)
    world.start()
    world.stop(use(30), number=2)
    late = world.update(ask(used=25), number=1)
    assert late.result == Result.SESSION_UNKNOWN
    assert sum(line.granted for line in late.lines) == 0
    assert world.flagged(Flag.LATE)
    assert world.money == (945, 0)
    assert world.repeat(end_to_end=7) == late
    assert world.money == (945, 0)


def test_a_second_termination_succeeds(opened: Opened) -> None:
    """`second T (2001)`, here under the next number and with nothing new."""
    world = opened(1_000)
    world.start()
    world.stop(use(30))
    assert world.stop(use(0)).result == Result.OK
    assert world.money == (970, 0)


def test_use_in_a_second_termination_is_not_lost(opened: Opened) -> None:
    """`Late and odd order ... never loses use`: under another number it is another report, charged late."""
    world = opened(1_000)
    world.start()
    world.stop(use(30))
    assert world.stop(use(20)).result == Result.OK
    assert world.flagged(Flag.LATE)
    assert world.money == (950, 0)


def test_a_termination_of_a_refused_session_succeeds(opened: Opened) -> None:
    """`T of a refused I (tombstone, 2001)`."""
    world = opened()
    assert world.start().result == Result.CREDIT_LIMIT
    assert world.stop().result == Result.OK
    world.topup(1_000)
    assert world.repeat(world.sent[0], end_to_end=7, resend=True).result == Result.UNABLE
    assert world.money == (1_000, 0)


def test_use_reported_with_the_termination_of_a_refused_session_is_charged(opened: Opened) -> None:
    """It was refused and served all the same: use is never lost."""
    world = opened()
    world.start()
    assert world.stop(use(30)).result == Result.OK
    assert world.money == (-30, 0)


@pytest.mark.parametrize("same_number", [False, True], ids=["another number", "the same number"])
def test_another_initial_replaces_the_holds_and_settles_nothing(opened: Opened, same_number: bool) -> None:
    """`another I on an open session (replaces its holds, settles nothing)`."""
    world = opened(1_000)
    world.start(ask(asked=300))
    again = world.start(ask(asked=200), number=0 if same_number else 3)
    assert (again.result, only(again).granted, again.cost) == (Result.OK, 200, 0)
    assert world.money == (1_000, 200)
    world.stop(use(150))
    assert world.money == (850, 0)


def test_another_initial_releases_the_lines_it_does_not_name(opened: Opened) -> None:
    """`replaces its holds`: all of the session's, the client begins anew."""
    world = opened(1_000)
    world.start(ask(10, asked=300), ask(20, asked=100))
    world.start(ask(10, asked=200), number=1)
    assert world.money == (1_000, 200)


def test_another_initial_may_have_the_money_the_first_one_held(opened: Opened) -> None:
    """It replaces: what it releases is there for its own grant."""
    world = opened(1_000)
    world.start(ask(asked=900))
    assert only(world.start(ask(asked=800), number=1)).granted == 800
    assert world.money == (1_000, 800)


def test_an_initial_after_its_updates_begins_the_session_again(opened: Opened) -> None:
    """A new incarnation: its lines begin anew, what was used before is settled."""
    world = opened(1_000)
    world.start()
    world.update(ask(used=70))
    world.start(ask(asked=50), number=9)
    assert world.stop(use(5)).debited == 5
    assert world.money == (925, 0)


# --- sessions nobody opened -----------------------------------------------------------------------------------


def test_an_update_of_a_session_never_seen_is_charged_unmatched(opened: Opened) -> None:
    """`the use is charged flagged unmatched, answer 5002`; asking for more gets nothing."""
    world = opened(1_000)
    unknown = world.update(ask(used=40), number=3)
    assert unknown.result == Result.SESSION_UNKNOWN
    assert sum(line.granted for line in unknown.lines) == 0
    assert world.flagged(Flag.UNMATCHED)
    assert world.money == (960, 0)


def test_unmatched_use_is_charged_in_full_however_much(opened: Opened) -> None:
    """It has no grant that ten times could be the bound of: `charged`, section 5; nothing goes to suspense."""
    world = opened(10_000)
    world.update(use(5_000), number=3)
    assert world.usage.suspense == 0
    assert world.money == (5_000, 0)


def test_unmatched_use_is_charged_once(opened: Opened) -> None:
    """A repeat of it is a repeat like any other."""
    world = opened(1_000)
    first = world.update(use(40), number=3)
    assert world.repeat(resend=True, end_to_end=7) == first
    assert world.money == (960, 0)
    world.update(use(10), number=4)
    assert world.money == (950, 0)


def test_an_initial_overtaken_by_its_update_is_granted(opened: Opened) -> None:
    """Only a T leaves a tombstone: the session that begins now is no less open."""
    world = opened(1_000)
    world.update(use(40), number=1)
    started = world.start(number=0)
    assert (started.result, only(started).granted) == (Result.OK, 100)
    assert world.money == (960, 100)


def test_a_termination_of_a_session_never_seen_leaves_a_tombstone(opened: Opened) -> None:
    """`T leaves a tombstone`: repeated, it is not charged again."""
    world = opened(1_000)
    first = world.stop(use(40), number=3)
    assert first.result == Result.SESSION_UNKNOWN
    assert world.flagged(Flag.UNMATCHED)
    assert world.repeat(end_to_end=7) == first
    assert world.money == (960, 0)


def test_a_forgotten_session_is_one_never_seen(opened: Opened) -> None:
    """`never seen, or forgotten`: an hour after it closed."""
    world = opened(1_000)
    world.start()
    world.stop(use(40))
    world.wait(HOUR)
    world.expire()
    assert world.twins.sessions("acc") == {}
    assert world.update(use(5), number=9).result == Result.SESSION_UNKNOWN
    assert world.flagged(Flag.UNMATCHED)
    assert world.money == (955, 0)


def test_unmatched_use_below_the_balance_becomes_debt(opened: Opened) -> None:
    """`Overrun without funds lands` on the main bucket, and use that happened is never refused."""
    world = opened(10)
    world.update(use(40), number=3)
    assert world.money == (-30, 0)


# --- abandoned sessions ---------------------------------------------------------------------------------------


def abandoned(opened: Opened) -> Counterparts:
    world = opened(1_000)
    world.start(ask(asked=100, validity_ms=10 * MINUTE))
    world.wait(20 * MINUTE)
    assert world.expire() == "ok"
    return world


def test_a_hold_expires_at_twice_its_validity(opened: Opened) -> None:
    """`Holds expire per line at 2 x its Validity-Time`, not a millisecond before."""
    world = opened(1_000)
    world.start(ask(asked=100, validity_ms=10 * MINUTE))
    world.wait(20 * MINUTE - 1)
    world.expire()
    assert world.money == (1_000, 100)
    world.wait(1)
    world.expire()
    assert world.money == (1_000, 0)


def test_the_session_closes_abandoned_with_its_last_line(opened: Opened) -> None:
    """`the session closes abandoned with its last line`."""
    world = opened(1_000)
    world.start(ask(10, asked=100, validity_ms=MINUTE), ask(20, asked=200, validity_ms=10 * MINUTE))
    world.wait(2 * MINUTE)
    world.expire()
    assert (world.money, world.session().state) == ((1_000, 200), SessionState.OPEN)
    world.wait(18 * MINUTE)
    world.expire()
    assert (world.money, world.session().state) == ((1_000, 0), SessionState.ABANDONED)


def test_an_update_reopens_an_abandoned_session(opened: Opened) -> None:
    """`A U for an abandoned session reopens it`: charged by its own ladder, and granted anew."""
    world = abandoned(opened)
    reopened = world.update(ask(used=60, asked=100))
    assert (reopened.result, only(reopened).granted) == (Result.OK, 100)
    assert world.flagged(Flag.REOPENED)
    assert world.session().state == SessionState.OPEN
    assert world.money == (940, 100)


def test_a_termination_of_an_abandoned_session_is_charged(opened: Opened) -> None:
    """Its use is never lost, and the answer is 2001: the session is known."""
    world = abandoned(opened)
    assert world.stop(use(60)).result == Result.OK
    assert world.money == (940, 0)


def test_the_hold_of_a_client_that_keeps_reporting_never_expires(opened: Opened) -> None:
    """Each report begins the time anew."""
    world = opened(1_000)
    world.start(ask(validity_ms=MINUTE))
    for _ in range(5):
        world.wait(2 * MINUTE - 1)
        world.expire()
        world.update(ask(used=10, validity_ms=MINUTE))
    assert world.money == (950, 100)
    assert world.session().state == SessionState.OPEN


def test_a_free_session_is_abandoned_like_any_other(opened: Opened) -> None:
    """Its line is granted, so it has a Validity-Time and a term, though it holds no money."""
    world = opened()
    world.start(ask(by=FREE, free=True, validity_ms=MINUTE))
    world.wait(2 * MINUTE)
    world.expire()
    assert world.session().state == SessionState.ABANDONED
