"""Which sessions are asked to report when money came in, is wanted elsewhere, or a limit was lowered."""

from __future__ import annotations

from redis.asyncio import Redis

from balances import keys
from balances.ledger.reader import connect
from balances.ledger.supervision import Supervision, holders
from balances.packing import ACCOUNT_FIELD, fresh_account, pack
from balances.structs.account import Take
from balances.structs.record import Short
from balances.structs.session import Line, Session, SessionState


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


async def test_an_account_costs_its_open_sessions(redis_url: str) -> None:
    """Those that have ended are passed over, some at a time; many, so that the hash is no list any more."""
    client = connect(redis_url)
    key = keys.account("company")
    assert await Supervision(client, "t").open_sessions("company") is None
    await client.hset(key, ACCOUNT_FIELD, pack(fresh_account("company", "EUR", generation=7)))
    over = {f"over{number}": pack(session(f"over{number}", state=SessionState.CLOSED)) for number in range(1_500)}
    await client.hset(key, mapping=over)
    going = {f"open{number}": pack(session(f"open{number}", held=1)) for number in range(450)}
    await client.hset(key, mapping=going)
    found = await Supervision(client, "t").open_sessions("company")
    assert found is not None
    assert found[0].generation == 7
    assert {one.id for one in found[1]} == set(going)
    account, one = await Supervision(client, "t").account_and_session("company", "open3")
    assert account == found[0]
    assert one is not None
    assert one.id == "open3"
    assert await Supervision(client, "t").account_and_session("nobody", "open3") == (None, None)
    await client.aclose()


async def test_hundreds_that_ended_are_forgotten_over_one_connection(redis_url: str) -> None:
    """Where each took a connection of its own, those beyond what a client may have failed, and the sweep with them."""
    client = Redis.from_url(redis_url, protocol=2, max_connections=1)
    names = [f"s{number}" for number in range(300)]
    await client.mset({keys.where(name): keys.place("payer", "anna") for name in names})
    await client.set(keys.where("s1"), keys.place("other", "anna"))  # another account has it by now
    await client.hset(keys.account("payer"), "s2", b"begun again")
    await client.delete(keys.where("s3"))
    await Supervision(client, "t").forget_where([("payer", name) for name in names])
    left = [name for name in names if await client.exists(keys.where(name))]
    assert left == ["s1", "s2"]
    await Supervision(client, "t").forget_where([("payer", "s1")])
    assert await client.exists(keys.where("s1"))
    await client.aclose()
