"""What is kept of a peer's words is bounded in octets too: a text may be as long as a message."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable

from balances import facts
from ocs.charging import networks, remembered
from ocs.charging.remembered import Remembered
from ocs.charging.services import service_table
from tariffs.inputs import Inputs
from tests.ocs.charging.wire import I, U, lines, mscc
from tests.ocs.charging.world import World

LONG = 60_000
TIMES = 200


def kept(act: Callable[[str], object]) -> int:
    """Octets kept of that many long texts."""
    texts: Iterable[str] = (f"{number}" + "x" * LONG for number in range(TIMES))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for text in texts:
            act(text)
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_contexts_of_services() -> None:
    assert kept(service_table().of) < LONG * 10


def test_names_of_networks() -> None:
    assert kept(networks.in_text) < LONG * 10
    assert networks.in_text("mnc001.mcc262" + "." * LONG) == "26201"


def test_sessions_whose_facts_are_remembered() -> None:
    known, told = Remembered(), remembered.unpacked(facts.pack([(-2, -2, 2, "20801")]))
    assert kept(lambda session: known.keep(session, told)) < LONG * 10
    known.keep("gw;1", told)
    assert known.get("gw;1") == told


def test_facts_themselves() -> None:
    def tell(text: str) -> None:
        remembered.of_all(remembered.values_of(Inputs("data", apn=text)))

    assert kept(tell) < LONG * 10


def test_a_session_with_a_long_name_is_rated_by_what_it_told_all_the_same() -> None:
    """It costs one more call."""
    world = World()
    name = "s" * 3_000
    world.send(I, session_id=name, **lines(mscc(10, ask={})))
    world.send(U, session_id=name, cc_request_number=1, **lines(mscc(10, ask={}, used={"cc_total_octets": 1})))
    assert len({charge.session for charge in world.charged}) == 1
