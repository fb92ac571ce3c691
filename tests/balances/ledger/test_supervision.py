"""Which sessions are asked to report when money came in, is wanted elsewhere, or a limit was lowered."""

from __future__ import annotations

from balances.ledger.supervision import nudged
from balances.ops import Line, Session, SessionState, Take


def session(name: str, *, held: int = 0, final: bool = False, state: int = SessionState.OPEN) -> Session:
    hold = [Take(0, held)] if held else []
    line = Line(10, -1, 1, hold=hold, due_ms=1 if held else 0, final=final)
    return Session(1, name, "s", "data", state, "gw", "r", "gw", 0, 0, 0, 0, [], [], [line])


SESSIONS = [
    session("poor", held=5),
    session("rich", held=50),
    session("last", held=1, final=True),
    session("portal", final=True),
    session("over", held=0, final=True, state=SessionState.CLOSED),
]


def names(*kinds: str) -> set[str]:
    return {one.id for one in nudged(SESSIONS, kinds)}


def test_money_is_wanted_of_who_holds_most() -> None:
    """charging.md section 5: `RAR to the largest idle holder`."""
    assert names("holder") == {"rich"}


def test_money_came_in_for_those_who_were_told_it_was_the_last() -> None:
    """`After a top-up, sessions with an FUI outstanding get RAR`: on the portal too, and open ones only."""
    assert names("final") == {"last", "portal"}


def test_a_lower_limit_asks_all_that_hold_something() -> None:
    """Section 7: `a lower limit leaves holds, refuses grants, sends RAR`."""
    assert names("all") == {"poor", "rich", "last"}


def test_kinds_add_up_and_nobody_is_asked_twice() -> None:
    assert names("holder", "all", "final") == {"poor", "rich", "last", "portal"}
    assert names("holder", "holder") == {"rich"}
    assert nudged([], ["holder", "all"]) == []
