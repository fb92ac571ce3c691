"""Events of a session that its client runs by itself: it ends once, authorised here or only recorded."""

import msgspec
import pytest

from balances.ledger.event_filter import EventFilter
from balances.ledger.events import happened
from balances.ledger.record import RecordedCall, RecordId
from balances.structs.charge import Phase
from tests.balances.rules.account_harness import Counterparts, ask, use
from tests.balances.rules.conftest import Opened
from tests.balances.rules.test_courses import Nas

ASKED = [EventFilter(("session.*",))]


def told(nas: Nas) -> list[str]:
    return told_of(nas.world, nas.session)


def told_of(world: Counterparts, name: str) -> list[str]:
    """By the newest record."""
    session = msgspec.msgpack.encode(world.session(name))
    call = RecordedCall(RecordId(1, 1), world.records[-1], b"", None, session, None, None, None)
    return [row.type for row in happened(0, call, ASKED)]


@pytest.mark.parametrize("recorded", [pytest.param(False, id="authorised"), pytest.param(True, id="recorded")])
def test_a_session_ends_once(opened: Opened, recorded: bool) -> None:
    nas = Nas(opened(1_000), recorded=recorded)
    nas.start(0)
    assert told(nas) == ["session.opened"]
    nas.interim(60, 10, lasted_s=60)
    assert told(nas) == []
    nas.stop(90, 20, lasted_s=90)
    assert told(nas) == ["session.ended"]
    nas.stop(90, 25, lasted_s=90, late_s=10)
    assert told(nas) == []


def test_use_that_is_recorded_without_a_session_ends_none(opened: Opened) -> None:
    nas = Nas(opened(1_000))
    nas.world.request(Phase.RECORD, [ask(used=10, asked=-1)], session=nas.session)
    assert told(nas) == []


def test_a_session_that_a_refused_update_ended_ends_once(opened: Opened) -> None:
    """A client without Multiple-Services-Credit-Control may say TERMINATION all the same, also of nothing."""
    world = opened(100)
    world.start(ask(asked=100), single=True)
    world.update(ask(used=100), single=True)
    assert told_of(world, "gw;1") == ["session.ended"]
    for asks in ([], [use(0)], [use(5)]):
        world.stop(*asks, single=True)
        assert told_of(world, "gw;1") == []
    world.start(ask(asked=0), session="gw;2")
    world.update(ask(used=1, asked=-1), session="gw;2")
    world.stop(session="gw;2")
    assert told_of(world, "gw;2") == ["session.ended"]
