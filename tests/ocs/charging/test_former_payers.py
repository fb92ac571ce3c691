"""charging.md section 19: what is repeated after another account began to pay is answered from the first time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.redis.pending import Pending
from ocs.charging.profile import FormerPayer
from ocs.charging.request import Busy
from protocol.diameter.dictionary.credit_control import RequestedAction
from tests.ocs.charging.wire import SMS, E, I, T, U, ccr, codes, lines, mscc
from tests.ocs.charging.world import EURO, NOT_SENT, NOW_MS, World, failed, ready

MB = 2**20
MOVED = 5
DAY_MS = 86_400_000
DEBIT, REFUND = RequestedAction.DIRECT_DEBITING, RequestedAction.REFUND_ACCOUNT
WHOLE = 20 * EURO


def move(world: World, *, told: bool = True, ago_ms: int = 1_000) -> None:
    """The subscriber goes from a1 to a2."""
    former = FormerPayer("a1", "EUR", "Europe/Berlin", MOVED, NOW_MS - ago_ms)
    kept = world.model.accounts["a1"]
    world.subscriber("msisdn:491700000001", account="a2", rev=MOVED, former=(former,))
    world.model.accounts["a1"] = kept
    if told:
        kept.profile_rev = MOVED


def balances(world: World) -> tuple[int, int]:
    return world.balance("a1"), world.balance("a2")


def sms(world: World, **fields: Any) -> Any:
    return world.send(E, service_context_id=SMS, requested_action=DEBIT, **fields)


@pytest.mark.parametrize("flags", [0xC0, 0xD0], ids=["T clear", "T set"])
def test_an_event_is_charged_once(flags: int) -> None:
    world = World()
    first = sms(world)
    move(world)
    assert sms(world, flags=flags).granted_service_unit == first.granted_service_unit
    assert balances(world) == (WHOLE - 70_000, WHOLE)
    sms(world, cc_request_number=1)
    assert balances(world) == (WHOLE - 70_000, WHOLE - 70_000)


@pytest.mark.parametrize("ago_ms", [1_000, 20 * DAY_MS], ids=["a second", "20 days"])
def test_an_event_that_redis_has_forgotten_is_charged_once(ago_ms: int) -> None:
    world = World()
    sms(world)
    for key, once in world.model.answers.items():
        world.known_answers[key] = msgspec.msgpack.encode(once)
    world.model.answers.clear()
    move(world, ago_ms=ago_ms)
    assert sms(world, flags=0xD0).result_code == 2001
    assert balances(world) == (WHOLE - 70_000, WHOLE)


def test_who_moved_long_ago_costs_nothing_more() -> None:
    world = World()
    move(world, ago_ms=DAY_MS)
    world.charged.clear()
    sms(world)
    assert [charge.account for charge in world.charged] == ["a2"]


def test_a_refund_goes_to_the_account_that_paid() -> None:
    world = World()
    sms(world)
    move(world, ago_ms=DAY_MS)
    for _ in range(2):
        assert world.send(E, service_context_id=SMS, requested_action=REFUND, cc_request_number=1).result_code == 2001
    assert balances(world) == (WHOLE, WHOLE)


def test_nothing_is_charged_before_the_old_account_knows() -> None:
    """The first time may still be under way to it, by an older profile."""
    world = World()
    move(world, told=False)
    assert isinstance(world.answer(ccr(E, service_context_id=SMS, requested_action=DEBIT)), Busy)
    assert isinstance(world.answer(ccr(I, **lines(mscc(10, ask={})))), Busy)
    assert balances(world) == (WHOLE, WHOLE)


def test_an_old_account_that_a_failover_made_forget_is_told_again() -> None:
    world = World()
    sms(world)
    move(world, told=False)
    told: list[tuple[str, int]] = []

    def tell(account: str, change: int) -> Pending[None]:
        told.append((account, change))
        world.model.accounts[account].profile_rev = change
        return ready(None)

    world.context.tell = tell
    assert sms(world).result_code == 2001
    assert balances(world) == (WHOLE - 70_000, WHOLE)
    sms(world, cc_request_number=1)
    assert balances(world) == (WHOLE - 70_000, WHOLE - 70_000)
    assert told == [("a1", MOVED)]


@pytest.mark.parametrize("failure", [None, NOT_SENT])
def test_an_old_account_that_cannot_be_told_is_told_once_and_nothing_is_charged(failure: Exception | None) -> None:
    world = World()
    move(world, told=False)
    told: list[str] = []

    def tell(account: str, change: int) -> Pending[None]:
        told.append(account)
        return ready(None) if failure is None else failed(failure)

    world.context.tell = tell
    assert isinstance(world.answer(ccr(E, service_context_id=SMS, requested_action=DEBIT)), Busy)
    assert told == ["a1"]
    assert balances(world) == (WHOLE, WHOLE)


def test_an_old_account_that_is_not_in_the_live_store_is_asked_all_the_same() -> None:
    world = World()
    sms(world)
    move(world)
    world.absent["a1"] = world.model.accounts.pop("a1")
    sms(world)
    assert balances(world) == (WHOLE - 70_000, WHOLE)


def test_an_initial_with_use_is_charged_once_and_its_session_stays() -> None:
    world = World()
    opening = lines(mscc(10, ask={}, used={"cc_total_octets": MB}))
    first = world.send(I, **opening)
    move(world)
    again = world.send(I, **opening)
    assert again.multiple_services_credit_control == first.multiple_services_credit_control
    assert balances(world) == (WHOLE - 10_000, WHOLE)
    assert set(world.wheres.values()) == {("a1", "s1")}
    answer = world.send(U, cc_request_number=1, **opening)
    assert codes(answer) == [2001, 4010]
    assert (balances(world), world.held("a1"), world.held("a2")) == ((WHOLE - 20_000, WHOLE), 0, 0)


def test_an_initial_that_is_none_of_it_opens_a_session_with_who_pays_now() -> None:
    world = World()
    move(world)
    assert world.send(I, **lines(mscc(10, ask={}))).result_code == 2001
    assert world.held("a1") == 0
    assert world.held("a2") > 0


def test_use_without_a_session_is_charged_once() -> None:
    """No INITIAL said where it is."""
    world = World()
    used = lines(mscc(10, used={"cc_total_octets": MB}))
    for send in (U, U, T):
        assert world.send(send, cc_request_number=1, **used).result_code == 5002
    move(world)
    before = balances(world)
    for send in (U, T):
        world.send(send, cc_request_number=1, **used)
    assert balances(world) == before == (WHOLE - 20_000, WHOLE)


def test_a_profile_that_is_older_than_two_moves_is_read_again() -> None:
    world = World()
    move(world)
    sms(world)  # a2 pays
    older = world.at_hand["msisdn:491700000001"]
    both = (FormerPayer("a2", "EUR", "Europe/Berlin", 9, NOW_MS), *older.former)
    newer = msgspec.structs.replace(older, account="a3", rev=9, former=both)
    world.known["msisdn:491700000001"] = newer
    world.account("a3", WHOLE)
    for account in ("a1", "a2", "a3"):
        world.model.accounts[account].profile_rev = 9
    sms(world)
    assert (*balances(world), world.balance("a3")) == (WHOLE, WHOLE - 70_000, WHOLE)
