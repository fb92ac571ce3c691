"""charging.md section 19: an account that does not pay any more answers what it knows, and does nothing anew."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balances.keys import event_key
from balances.structs.charge import Action, Charge, Course, Phase
from tests.balances.rules.account_harness import HOUR, Counterparts, ask, use
from tests.balances.rules.conftest import Opened

MOVED = 7
"""The change by which it ceased to pay."""


def moved(opened: Opened) -> Counterparts:
    world = opened(1_000)
    world.settings(profile_rev=MOVED)
    return world


def status_of(world: Counterparts, charge: Charge, **changes: Any) -> str:
    """How it ends at the account that does not pay any more."""
    now = {"now_ms": world.now_ms, "moved_rev": MOVED, "profile_rev": 2**53, "seek": True}
    asked = msgspec.structs.replace(charge, **(now | changes))
    before = len(world.records), world.account, world.twins.sessions(world.account.id)
    status, _ = world.twins.charge(asked)
    if status in ("elsewhere", "untold"):
        assert (len(world.records), world.account, world.twins.sessions(world.account.id)) == before
    return status


SMS: dict[str, Any] = {"maximum": 0, "whole": True}


def test_a_repeated_event_is_answered_and_another_one_is_not_charged(opened: Opened) -> None:
    world = moved(opened)
    world.event(ask(asked=100, **SMS), profile_rev=MOVED)
    first = world.sent[-1]
    assert status_of(world, first, end_to_end=9) == "again"
    assert status_of(world, first, end_to_end=9, fingerprint="another") == "elsewhere"
    assert status_of(world, first, once_key=event_key("sms;1", 5)) == "elsewhere"
    assert world.money == (900, 0)


def test_it_gives_back_what_it_was_paid(opened: Opened) -> None:
    world = moved(opened)
    world.event(ask(asked=100, **SMS), profile_rev=MOVED)
    refund = msgspec.structs.replace(
        world.sent[-1], action=Action.REFUND, once_key=event_key("sms;1", 1), fingerprint="refund", key="4:1"
    )
    refund.asks = [ask(asked=40, **SMS)]
    unknown = event_key("sms;1", 8)
    assert status_of(world, refund, refund_of=unknown, refund_free=500) == "elsewhere"
    assert status_of(world, refund, refund_of=event_key("sms;1", 0)) == "ok"
    assert world.money == (940, 0)


@pytest.mark.parametrize("used", [None, 30], ids=["without use", "with use"])
def test_a_repeated_initial_is_answered_and_another_one_begins_nothing(opened: Opened, used: int | None) -> None:
    world = moved(opened)
    world.start(ask(used=used), profile_rev=MOVED)
    first = world.sent[-1]
    assert status_of(world, first, end_to_end=9) == "again"
    assert status_of(world, first, end_to_end=9, fingerprint="another") == "elsewhere"
    assert status_of(world, first, session="gw;2") == "elsewhere"
    world.update(ask(used=10), profile_rev=MOVED)
    world.wait(HOUR)
    assert status_of(world, first, end_to_end=9) == "elsewhere"  # another incarnation


def test_a_session_goes_on_where_it_began(opened: Opened) -> None:
    """Also one that no INITIAL began."""
    world = moved(opened)
    world.update(use(10), profile_rev=MOVED)
    first = world.sent[-1]
    assert status_of(world, first) == "again"
    assert status_of(world, first, number=5, key="2:5", fingerprint="next") == "ok"
    assert status_of(world, first, session="gw;2") == "elsewhere"
    assert world.money == (980, 0)


def test_use_that_is_only_recorded_is_recorded_once(opened: Opened) -> None:
    world = moved(opened)
    world.request(Phase.RECORD, [use(10)], profile_rev=MOVED)
    first = world.sent[-1]
    assert status_of(world, first) == "again"
    assert status_of(world, first, number=5, key="5:5", fingerprint="next") == "elsewhere"


def test_a_session_of_a_nas_begins_elsewhere_only_where_it_is_another_one(opened: Opened) -> None:
    world = moved(opened)
    nas = {"course": Course.BEGINS, "token": "one", "began_ms": world.now_ms, "countable": False, "profile_rev": MOVED}
    world.start(ask(-1), **nas)
    first = world.sent[-1]
    assert status_of(world, first, key="another packet", fingerprint="delayed") == "ok"
    later = {"began_ms": world.now_ms + HOUR, "now_ms": world.now_ms + HOUR, "event_ms": world.now_ms + HOUR}
    assert status_of(world, first, key="next", fingerprint="next", token="two", **later) == "elsewhere"


@pytest.mark.parametrize("phase", list(Phase), ids=[phase.name for phase in Phase])
def test_before_it_was_told_it_answers_nothing(opened: Opened, phase: Phase) -> None:
    """A first request that has not come in yet would still be charged there, and its repeat elsewhere."""
    world = opened(1_000)
    world.event(ask(asked=100, **SMS))
    first = msgspec.structs.replace(world.sent[-1], phase=phase)
    assert status_of(world, first) == "untold"
    world.settings(profile_rev=MOVED)
    assert status_of(world, world.sent[-1]) == "again"
