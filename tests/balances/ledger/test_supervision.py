"""Which sessions are asked to report when money came in, is wanted elsewhere, or a limit was lowered."""

from __future__ import annotations

from balances.ledger.supervision import Cause, holders, to_reauthorize
from balances.structs.account import Take
from balances.structs.record import Record, Short
from balances.structs.session import Line, Session, SessionState
from balances.structs.thresholds import Crossing


def session(
    name: str,
    *,
    held: int = 0,
    final: bool = False,
    state: int = SessionState.OPEN,
    bucket: int = 0,
    touched_ms: int = 0,
    subscriber: str = "s",
) -> Session:
    hold = [Take(bucket, held)] if held else []
    line = Line(10, -1, 1, hold=hold, due_ms=1 if held else 0, final=final)
    return Session(1, name, subscriber, "data", state, "gw", "r", "gw", 0, touched_ms, 0, 0, [], [], [line])


SESSIONS = [
    session("poor", held=5),
    session("rich", held=50),
    session("last", held=1, final=True),
    session("portal", final=True),
    session("over", held=0, final=True, state=SessionState.CLOSED),
]


def names(*kinds: str) -> set[str]:
    return {one.id for one in to_reauthorize(SESSIONS, kinds)}


MONEY, OCTETS, OTHER_MONEY = Short(0, 0), Short(7, 1), Short(8, 0)


def asked(sessions: list[Session], *short: Short, but: tuple[str, ...] = ()) -> list[str]:
    return [one.id for one in holders(sessions, short, but=but)]


def test_money_is_wanted_of_who_holds_most() -> None:
    """charging.md section 5: `RAR to the largest idle holder`; the one that lacks it is not idle."""
    assert asked(SESSIONS, MONEY) == ["rich"]
    assert asked(SESSIONS, MONEY, but=("rich",)) == ["poor"]


def test_of_what_is_short_that_bucket_and_that_unit() -> None:
    """Five million octets of a bundle are not more than one cent: who holds no money has none to give."""
    sessions = [
        session("octets", held=5_000_000, bucket=7),
        session("money", held=1),
        session("bonus", held=9, bucket=8),
    ]
    assert asked(sessions, MONEY) == ["money"]
    assert asked(sessions, OCTETS) == ["octets"]
    assert asked(sessions, MONEY, OTHER_MONEY) == ["bonus"]
    assert asked(sessions, MONEY, OCTETS) == ["money", "octets"]
    assert asked(sessions, Short(9, 2)) == asked(sessions) == []


def test_of_equal_holders_the_one_that_is_silent_for_longest() -> None:
    assert asked([session("now", held=5, touched_ms=9), session("long ago", held=5, touched_ms=1)], MONEY) == [
        "long ago"
    ]


def test_members_that_are_served_no_more() -> None:
    both = [session("kept", held=1, subscriber="a"), session("barred", subscriber="b")]
    assert [one.id for one in to_reauthorize(both, ["members"], {"b"})] == ["barred"]
    assert to_reauthorize(both, ["members"]) == []


def test_what_a_record_gives_reason_to() -> None:
    refused = Record(1, "charge", "acc", "EUR", session="c", reauthorize=["holder"], short=[MONEY])
    resumed = Record(1, "post", "acc", "EUR", session="", threshold_events=[Crossing("resume", "account", "", 0, 0)])
    assert Cause.of(refused) == Cause(frozenset({"holder"}), frozenset({MONEY}), frozenset({"c"}))
    assert Cause.of(resumed).kinds == {"final"}
    joined = Cause.of(refused).joined(Cause.of(resumed))
    assert joined == Cause(frozenset({"holder", "final"}), frozenset({MONEY}), frozenset({"c"}))


def test_money_came_in_for_those_who_were_told_it_was_the_last() -> None:
    """`After a top-up, sessions with an FUI outstanding get RAR`: on the portal too, and open ones only."""
    assert names("final") == {"last", "portal"}


def test_a_lower_limit_asks_all_that_hold_something() -> None:
    """Section 7: `a lower limit leaves holds, refuses grants, sends RAR`."""
    assert names("all") == {"poor", "rich", "last"}


def test_kinds_add_up_and_nobody_is_asked_twice() -> None:
    assert names("all", "final") == {"poor", "rich", "last", "portal"}
    assert to_reauthorize([], ["all"]) == []
