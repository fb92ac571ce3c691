"""charging.md section 3, requests that come twice: one request, one effect, one answer."""

from __future__ import annotations

import pytest

from balances.packing import unpack_answer
from balances.structs.charge import Flag, Result
from tests.balances.rules.account_harness import HOUR, Counterparts, ask, ladder, money, only, use
from tests.balances.rules.conftest import Opened


def state(world: Counterparts) -> tuple[object, ...]:
    """All that a repeat must leave alone: money, lines, and the number of records."""
    return world.account.buckets, world.account.counters, world.session().lines, len(world.records)


@pytest.mark.parametrize("resend", [False, True], ids=["T clear", "T set"])
@pytest.mark.parametrize("same_end_to_end", [False, True], ids=["new End-to-End-Id", "same End-to-End-Id"])
def test_the_same_request_gets_the_same_answer_and_nothing_moves(
    opened: Opened, resend: bool, same_end_to_end: bool
) -> None:
    """Same key, same fingerprint: same answer, nothing moves."""
    world = opened(1_000)
    world.start()
    first = world.update(ask(asked=200, used=70))
    before, sent = state(world), world.sent[-1]
    again = world.repeat(resend=resend, end_to_end=sent.end_to_end if same_end_to_end else 7)
    assert (again, world.status) == (first, "again")
    assert state(world) == before


def test_a_repeat_is_never_rated_anew(opened: Opened) -> None:
    """`Same fingerprint: ... never re-rated`: not when the price has changed, nor the balance."""
    world = opened(1_000)
    first = world.start(ask(asked=100))
    world.topup(5_000)
    dearer = ask(asked=100, by=ladder(money(50), tag="t@2"))
    assert world.repeat(asks=[dearer], end_to_end=8) == first
    assert world.money == (6_000, 100)


@pytest.mark.parametrize("number", [0, 1], ids=["INITIAL", "UPDATE"])
def test_an_older_request_is_repeated_after_a_newer_one(opened: Opened, number: int) -> None:
    """The last 4 answers are kept, not only the last."""
    world = opened(1_000)
    outcomes = [world.start(), world.update(ask(used=30)), world.update(ask(used=40)), world.stop(use(5))]
    before = state(world)
    assert world.repeat(world.sent[number]) == outcomes[number]
    assert state(world) == before
    assert world.money == (925, 0)


def test_the_answers_of_a_closed_session_are_kept_for_an_hour(opened: Opened) -> None:
    """`Kept: a session's last 4 answers ... until closed + 1 h`."""
    world = opened(1_000)
    world.start()
    stopped = world.stop(use(40))
    world.wait(HOUR - 1)
    world.expire()
    assert world.repeat() == stopped
    assert world.money == (960, 0)


def test_the_type_is_part_of_the_key(opened: Opened) -> None:
    """`Type is in it because clients repeat the last U's number in T`."""
    world = opened(1_000)
    world.start()
    world.update(ask(used=10), number=1)
    assert world.stop(use(10), number=1).result == Result.OK
    assert world.money == (980, 0)


def test_the_end_to_end_id_alone_makes_no_duplicate(opened: Opened) -> None:
    """[A restarted client counts from 1 again.]"""
    world = opened(1_000)
    world.start(end_to_end=1)
    for _ in range(3):
        assert only(world.update(ask(used=10), end_to_end=1)).granted == 100
    assert world.money == (970, 100)


# --- refusals -------------------------------------------------------------------------------------------------


def test_a_refusal_is_replayed_for_the_same_end_to_end_id(opened: Opened) -> None:
    """`A refusal that moved nothing is replayed only for the same End-to-End-Id` [top-up in between]."""
    world = opened()
    refused = world.start()
    assert refused.result == Result.CREDIT_LIMIT
    world.topup(1_000)
    assert world.repeat(resend=True) == refused
    assert world.money == (1_000, 0)


def test_a_refusal_is_decided_anew_for_another_end_to_end_id(opened: Opened) -> None:
    """`... else decided anew` [top-up in between]."""
    world = opened()
    assert world.start().result == Result.CREDIT_LIMIT
    world.topup(1_000)
    assert only(world.repeat(end_to_end=7)).granted == 100
    assert world.money == (1_000, 100)


def test_a_refused_update_is_decided_anew_too(opened: Opened) -> None:
    """The same of an UPDATE that reported nothing, held nothing and was refused."""
    world = opened(100)
    world.start(ask(asked=100))
    world.update(use(100))
    assert only(world.update(ask())).result == Result.CREDIT_LIMIT
    world.topup(1_000)
    assert only(world.repeat(end_to_end=7)).granted == 100
    assert world.money == (1_000, 100)


def test_a_refused_update_that_settled_use_is_replayed_to_everyone(opened: Opened) -> None:
    """It moved money: then the same fingerprint gets the same answer, and the use is not debited again."""
    world = opened(100)
    world.start(ask(asked=100))
    refused = world.update(ask(used=100))
    assert only(refused).result == Result.CREDIT_LIMIT
    world.topup(1_000)
    assert world.repeat(end_to_end=7) == refused
    assert world.money == (1_000, 0)


# --- another request under the same number --------------------------------------------------------------------


def test_other_content_under_a_used_number_is_charged_and_flagged_renumbered(opened: Opened) -> None:
    """`Different fingerprint, new End-to-End-Id, T clear: charged as new, flagged renumbered`."""
    world = opened(1_000)
    world.start()
    world.update(ask(used=10), number=1)
    assert only(world.update(ask(used=20), number=1)).granted == 100
    assert world.flagged(Flag.RENUMBERED)
    assert world.money == (970, 100)


def test_a_renumbered_request_has_its_own_repeats(opened: Opened) -> None:
    """The request that was charged as new is charged once as well, and the first keeps its answer."""
    world = opened(1_000)
    world.start()
    first = world.update(ask(used=10), number=1)
    second = world.update(ask(used=20, asked=50), number=1)
    before = state(world)
    assert world.repeat(end_to_end=7) == second
    assert world.repeat(world.sent[1], end_to_end=8) == first
    assert state(world) == before


@pytest.mark.parametrize("change", ["T set", "same End-to-End-Id"])
def test_other_content_in_a_retransmission_gets_the_stored_answer(opened: Opened, change: str) -> None:
    """`Different fingerprint with T or the same End-to-End-Id: stored answer, conflict recorded`."""
    world = opened(1_000)
    world.start()
    first = world.update(ask(used=10), number=1)
    money_before, records = world.money, len(world.records)
    changes = {"resend": True} if change == "T set" else {"end_to_end": world.sent[-1].end_to_end}
    assert world.update(ask(used=20), number=1, **changes) == first
    assert world.money == money_before
    assert len(world.records) == records + 1
    assert world.flagged(Flag.CONFLICT)


def test_a_peer_that_reuses_numbers_is_told_apart_by_end_to_end_id(opened: Opened) -> None:
    """`Profile reuses_numbers adds End-to-End-Id to the key`: to_charge does, and says countable=False."""
    world = opened(1_000)
    world.start(key="1:0:50", countable=False, number=0)
    for end_to_end in (51, 52):
        update = {"key": f"2:1:{end_to_end}", "end_to_end": end_to_end, "countable": False, "number": 1}
        first = world.update(ask(used=10), **update)
        assert only(first).granted == 100
        assert not world.flagged(Flag.RENUMBERED)
        assert world.repeat(resend=True) == first
    assert world.money == (980, 100)


# --- forgotten answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("resend", [False, True], ids=["T clear", "T set"])
def test_a_remembered_number_without_its_answer_moves_nothing(opened: Opened, resend: bool) -> None:
    """`a remembered number without its answer: 2001, no grant, no debit`."""
    world = opened(1_000)
    world.start()
    for _ in range(6):
        world.update(ask(used=10))
    before = state(world)[:3]
    late = world.repeat(world.sent[1], resend=resend)
    assert late.result == Result.REMEMBERED
    assert sum(line.granted for line in late.lines) == 0
    assert late.cost == 0
    assert state(world)[:3] == before


def test_numbers_are_remembered_out_of_order(opened: Opened) -> None:
    """`all its used (type, number) as intervals`: a number in a gap was not used, and is charged."""
    world = opened(1_000)
    world.start()
    for number in (1, 2, 7, 6, 9, 10, 11):
        world.update(ask(used=10), number=number)
    for number in (1, 2, 7):
        sent = next(charge for charge in world.sent[1:] if charge.number == number)
        assert world.repeat(sent).result == Result.REMEMBERED
    assert world.money == (930, 100)
    for number in (3, 5, 8, 4):
        assert only(world.update(ask(used=10), number=number)).granted == 100
    assert world.money == (890, 100)


def test_only_four_answers_are_kept(opened: Opened) -> None:
    """`a session's last 4 answers`."""
    world = opened(1_000)
    outcomes = [world.start()] + [world.update(ask(used=10)) for _ in range(6)]
    assert len(world.session().answers) == 4
    assert {unpack_answer(raw).key for raw in world.session().answers} == {"2:3", "2:4", "2:5", "2:6"}
    for at in (3, 4, 5, 6):
        assert world.repeat(world.sent[at]) == outcomes[at]


def test_money_is_charged_with_the_sub_session_it_names(opened: Opened) -> None:
    """CC-Sub-Session-Id is in the key: to_charge makes two sessions of them."""
    world = opened(1_000)
    for session in ("gw;1|0", "gw;1|1"):
        assert only(world.start(session=session, number=0)).granted == 100
        world.update(use(10), session=session, number=1)
    assert world.money == (980, 0)


# --- an INITIAL that another one overtook ---------------------------------------------------------------------------


@pytest.mark.parametrize("resend", [False, True], ids=["T clear", "T set"])
@pytest.mark.parametrize("reported", [False, True], ids=["at once", "after a report"])
def test_a_refused_initial_that_comes_back_after_another_one_moves_nothing(
    opened: Opened, resend: bool, reported: bool
) -> None:
    """Its answer is one of `a session's last 4`: it neither takes the place of what the second one holds nor begins
    another incarnation [top-up in between, and a duplicate from the network]."""
    world = opened()
    refused = world.start(ask(asked=50))
    world.topup(1_000)
    assert only(world.start(ask(asked=200))).granted == 200
    if reported:
        world.update(ask(asked=200, used=30))
    before = state(world)
    assert world.repeat(world.sent[0], resend=resend) == refused
    assert state(world) == before


def test_the_answer_of_an_initial_that_was_replaced_is_kept(opened: Opened) -> None:
    """Same request, same answer; what the second one holds stays."""
    world = opened(1_000)
    first, _ = world.start(ask(asked=50)), world.start(ask(asked=200))
    assert world.repeat(world.sent[0], resend=True) == first
    assert world.money == (1_000, 200)
