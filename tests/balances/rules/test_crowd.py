"""charging.md section 8: so many sessions of a subscriber and service at once, decided where they are kept."""

from __future__ import annotations

from typing import Any

from balances.structs.charge import Phase
from balances.structs.session import SessionState
from tariffs.ladder import Ladder
from tests.balances.rules.account_harness import FLAT, Counterparts, ask, charge_of, ladder, money, timed
from tests.balances.rules.conftest import Opened


def begins(world: Counterparts, session: str, most: int, *replaces: str, by: Ladder = FLAT, **fields: Any) -> str:
    """How the call ends."""
    charge = charge_of(
        Phase.START, [ask(asked=10, by=by)], session=session, number=fields.pop("number", 0), end_to_end=1
    )
    charge = timed(charge, world.now_ms, {"sessions_max": most, "replaces": list(replaces)} | fields)
    return world.twins.charge(charge)[0]


def test_one_more_than_may_be_is_not_begun_and_nothing_is_held(opened: Opened) -> None:
    world = opened(100)
    assert [begins(world, f"port;{number}", 2) for number in range(3)] == ["ok", "ok", "crowded"]
    assert (world.money[1], set(world.twins.model.sessions["acc"])) == (20, {"port;0", "port;1"})
    world.stop(session="port;0")
    assert begins(world, "port;2", 2) == "ok"


def test_one_that_is_open_is_not_one_more(opened: Opened) -> None:
    world = opened(100)
    assert [begins(world, "port;0", 1, number=number) for number in range(2)] == ["ok", "ok"]
    assert world.money[1] == 10


def test_other_subscribers_and_services_do_not_count(opened: Opened) -> None:
    world = opened(100)
    assert begins(world, "port;0", 1, subscriber="other") == "ok"
    assert begins(world, "port;1", 1, service="voice") == "ok"
    assert begins(world, "port;2", 1) == "ok"
    assert begins(world, "port;3", 1) == "crowded"


def test_what_it_replaces_does_not_count_keeps_what_it_holds_and_is_told(opened: Opened) -> None:
    world = opened(100)
    begins(world, "nas;0", 1)
    assert begins(world, "port;1", 1) == "crowded"
    assert begins(world, "port;1", 1, "nas;0") == "ok"
    assert world.twins.model.ledger[-1].record.reauthorize == ["replaced nas;0"]
    assert (world.money[1], world.session("nas;0").state) == (20, SessionState.OPEN)
    assert begins(world, "port;2", 1, "nas;0") == "crowded", "another one took the place meanwhile"


def test_it_takes_the_place_also_where_there_is_no_money(opened: Opened) -> None:
    world = opened(10)
    begins(world, "nas;0", 1)
    assert begins(world, "port;1", 1, "nas;0", by=ladder(money(100))) == "ok"
    assert world.twins.model.ledger[-1].record.reauthorize[-1] == "replaced nas;0"
