"""Two workers on one store: each call's effect once, whatever happens to the connection (durability.md 4, 9, 1).

Scripts and state are real; where a reply has to be lost, a `Tap` between worker and server loses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import redis.asyncio

from balances import keys
from balances.packing import fresh_account, pack
from balances.redis import calls as wire
from balances.redis.calls import Lost, NotSent
from balances.redis.connection import RedisConnection
from balances.redis.pending import Pending
from balances.redis.store import Store
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.charge import Ask, Charge, Outcome, Phase, Reply
from balances.structs.posting import AccountOpening, AccountSettings, Expire, Post, Posting
from tariffs.units import Kind
from tests.balances.auditor import LedgerCopy, Tap
from tests.balances.rules.account_harness import START_MS, ask, charge_of, use
from tests.servers import LiveValkey

ACCOUNTS = ("anna", "bert", "carl")

Worker = Callable[..., Awaitable[Store]]


@pytest.fixture
async def books(redis_url: str) -> AsyncIterator[LedgerCopy]:
    client: Any = redis.asyncio.Redis.from_url(redis_url)
    books = LedgerCopy(client)
    await books.open(*ACCOUNTS)
    yield books
    try:
        for name in ACCOUNTS:
            await books.audit(name)
    finally:
        await client.aclose()


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Worker]:
    """Starts workers: `await worker()`; of another address, or one that needs a pass, when said."""
    links: list[RedisConnection] = []

    async def start(url: str = redis_url, *, unfenced: bool = True, wait_s: float = 5) -> Store:
        link = RedisConnection(url, now_ms=lambda: START_MS, unfenced=unfenced)
        links.append(link)
        await link.start(wait_s)
        return Store(link)

    yield start
    for link in links:
        await link.stop()


def request(phase: Phase, *asks: Ask, session: str = "gw;1", number: int = 0, account: str = "anna") -> Charge:
    return charge_of(phase, asks, session=session, number=number, end_to_end=number + 1, account=account)


def topup(key: str) -> Post:
    return Post("anna", key, "f", START_MS, 10**7, "me", "", "", [Posting(MAIN, Kind.MONEY, 50, "topup", "topup")])


def opening(account: str) -> AccountOpening:
    return AccountOpening(raw_of(pack(fresh_account(account, "EUR"))), [], [], START_MS, "open")


async def send(store: Store, charge: Charge) -> Reply:
    return await store.charge(charge, b"inputs").wait()


async def ended(pending: Iterable[Pending[Any]]) -> list[str]:
    """How each call ended: its status, or NotSent or Lost."""

    async def one(call: Pending[Any]) -> str:
        try:
            return str((await asyncio.wait_for(call.wait(), 10)).status)
        except (NotSent, Lost) as error:
            return type(error).__name__

    return [await one(call) for call in [*pending]]  # all are sent before the first is waited for


async def reconnected(store: Store) -> None:
    """Wait for a pass."""
    async with asyncio.timeout(30):
        while store.link.epoch is None:
            await asyncio.sleep(0.005)


# --- two workers ----------------------------------------------------------------------------------------------


async def test_a_request_sent_by_two_workers_at_once_is_charged_once(books: LedgerCopy, worker: Worker) -> None:
    """`One request, one Lua call, exactly once` (charging.md section 3)."""
    one, two = await worker(), await worker()
    await send(one, request(Phase.START, ask(asked=100)))
    for number in range(1, 60):
        update = request(Phase.UPDATE, ask(asked=100, used=7), number=number)
        replies = await asyncio.gather(send(one, update), send(two, update))
        assert sorted(reply.status for reply in replies) == ["again", "ok"]
        assert replies[0].outcome == replies[1].outcome
    assert await books.money("anna") == (1_000_000 - 59 * 7, 100)


async def test_a_posting_sent_by_two_workers_at_once_is_made_once(books: LedgerCopy, worker: Worker) -> None:
    """`HTTP Idempotency-Keys`: both are told the same."""
    one, two = await worker(), await worker()
    replies = await asyncio.gather(one.post(topup("k")).wait(), two.post(topup("k")).wait())
    assert sorted(reply.status for reply in replies) == ["again", "ok"]
    assert replies[0].outcome == replies[1].outcome
    assert await books.money("anna") == (1_000_050, 0)


async def test_sessions_of_many_accounts_through_two_workers_come_out_even(books: LedgerCopy, worker: Worker) -> None:
    """Every request of every session by any worker: what was used is what was paid, and nothing stays held."""
    stores, rng, used = [await worker(), await worker()], Random(5), dict.fromkeys(ACCOUNTS, 0)

    async def session(name: str, at: int) -> None:
        which: dict[str, Any] = {"session": f"{name};{at}", "account": name}
        await send(rng.choice(stores), request(Phase.START, ask(asked=50), **which))
        for number in range(1, 12):
            amount = rng.randrange(60)
            used[name] += amount
            update = request(Phase.UPDATE, ask(asked=50, used=amount), number=number, **which)
            for store in rng.sample(stores, rng.choice((1, 2))):
                assert (await send(store, update)).status in ("ok", "again")
        await send(rng.choice(stores), request(Phase.STOP, use(3), number=12, **which))
        used[name] += 3

    await asyncio.gather(*(session(name, at) for name in ACCOUNTS for at in range(5)))
    for name in ACCOUNTS:
        assert await books.money(name) == (1_000_000 - used[name], 0)


async def test_two_workers_never_grant_the_same_money(books: LedgerCopy, worker: Worker) -> None:
    """`Parallel sessions ... can never be granted the same money` (charging.md section 5)."""
    stores = [await worker(), await worker()]
    await books.open("anna", money=1_000)
    asked = [request(Phase.START, ask(asked=30), session=f"s{at}", number=0) for at in range(60)]
    replies = await asyncio.gather(*(send(stores[at % 2], one) for at, one in enumerate(asked)))
    outcomes = [msgspec.msgpack.decode(reply.outcome, type=Outcome) for reply in replies]
    assert sum(line.granted for outcome in outcomes for line in outcome.lines) == 1_000
    assert await books.money("anna") == (1_000, 1_000)


# --- the functions are gone ------------------------------------------------------------------------------------


def updates(count: int, first: int = 1) -> list[Charge]:
    return [request(Phase.UPDATE, ask(asked=100, used=1), number=first + at) for at in range(count)]


async def flushed(books: LedgerCopy, worker: Worker) -> tuple[Store, list[Pending[Reply]]]:
    """A FUNCTION FLUSH in the middle of ten calls of one write."""
    store = await worker()
    await send(store, request(Phase.START, ask(asked=100)))
    before = [store.charge(charge, b"") for charge in updates(5)]
    store.link.command("FUNCTION", "FLUSH")
    return store, before + [store.charge(charge, b"") for charge in updates(5, first=6)]


async def test_functions_lost_in_the_middle_lose_no_call(books: LedgerCopy, worker: Worker) -> None:
    """`Function not found: one loader per connection, the others wait and are re-sent in order`."""
    _, calls = await flushed(books, worker)
    assert await ended(calls) == ["ok"] * 10
    assert await books.money("anna") == (999_990, 100)


async def test_calls_that_found_no_function_keep_their_order(books: LedgerCopy, worker: Worker) -> None:
    """`re-sent in order`: of those that were, the records are in the order of the calls, each once."""
    _, calls = await flushed(books, worker)
    ends = await ended(calls)
    assert ends[:5] == ["ok"] * 5
    made = [record.key for _, record in await books.records("anna") if record.phase == Phase.UPDATE]
    assert made == [f"2:{at + 1}" for at, end in enumerate(ends) if end == "ok"]
    assert await books.money("anna") == (1_000_000 - len(made), 100)


async def test_the_worker_goes_on_after_its_functions_were_lost(books: LedgerCopy, worker: Worker) -> None:
    """`reload only after the pass is checked`: and then as before."""
    store, calls = await flushed(books, worker)
    await ended(calls)
    await asyncio.sleep(1.2)
    assert await ended(store.charge(charge, b"") for charge in updates(4, first=11)) == ["ok"] * 4
    assert (await books.money("anna"))[1] == 100


# --- the connection is gone -----------------------------------------------------------------------------------


@pytest.fixture
async def tap(valkey: LiveValkey, redis_url: str, tmp_path: Path) -> AsyncIterator[tuple[Tap, str]]:
    tap = Tap(redis_url.removeprefix("unix://"))
    yield tap, await tap.serve(tmp_path / "tap")
    await tap.close()


async def test_a_call_whose_reply_was_lost_is_sent_once_more(
    books: LedgerCopy, worker: Worker, tap: tuple[Tap, str]
) -> None:
    """`the same key is sent once more within the answer deadline`: charged once, answered from what is stored."""
    store = await worker(tap[1])
    await send(store, request(Phase.START, ask(asked=100)))
    await reconnected(store)
    tap[0].lose = 1
    assert await ended(store.charge(charge, b"") for charge in updates(4)) == ["again"] * 4
    assert await books.money("anna") == (999_996, 100)


async def test_a_call_is_sent_no_third_time(books: LedgerCopy, worker: Worker, tap: tuple[Tap, str]) -> None:
    """`once more ... then silence, so that the client retransmits`: its reply is lost both times."""
    store = await worker(tap[1])
    tap[0].lose = 2
    assert await ended([store.charge(request(Phase.START, ask(asked=100)), b"")]) == ["Lost"]
    assert store.link.lost["charge"] == 1
    assert tap[0].seen == 2
    assert await books.money("anna") == (1_000_000, 100)
    await reconnected(store)
    assert await ended([store.charge(request(Phase.START, ask(asked=100)), b"")]) == ["again"]


async def test_a_posting_whose_reply_was_lost_is_made_once(
    books: LedgerCopy, worker: Worker, tap: tuple[Tap, str]
) -> None:
    """The same of money: its key protects what is sent once more."""
    store = await worker(tap[1])
    tap[0].lose = 1
    assert await ended([store.post(topup("k"))]) == ["again"]
    assert await books.money("anna") == (1_000_050, 0)


async def test_a_posting_without_a_key_is_not_sent_again(
    books: LedgerCopy, worker: Worker, tap: tuple[Tap, str]
) -> None:
    """`"" for none: then nothing protects a repeat` (structs/posting.py): so the link must not repeat it by itself."""
    store = await worker(tap[1])
    tap[0].lose = 1
    await ended([store.post(topup(""))])
    assert await books.money("anna") == (1_000_050, 0)


async def test_an_opening_whose_reply_was_lost_is_not_sent_again(
    books: LedgerCopy, worker: Worker, tap: tuple[Tap, str]
) -> None:
    """What PostgreSQL said of an account holds for one epoch only (durability.md rule 8): under the next one the same
    octets might bring back an account as it was before its last charges."""
    store = await worker(tap[1])
    tap[0].lose = 1
    assert await ended([store.open("dora", opening("dora"))]) == ["Lost"]
    assert tap[0].seen == 1


async def test_an_opening_that_found_no_function_was_not_sent(books: LedgerCopy, worker: Worker) -> None:
    """The same of a server that lost the functions: usually it is a new one, and was opened anew."""
    store = await worker()
    store.link.command("FUNCTION", "FLUSH")
    assert await ended([store.open("dora", opening("dora"))]) == ["NotSent"]


async def test_connections_killed_with_calls_in_flight_lose_nothing(books: LedgerCopy, worker: Worker) -> None:
    """`CLIENT KILL` again and again: a call that was answered is charged once, one that is Lost once or never."""
    stores, rng = [await worker(), await worker()], Random(3)
    await send(stores[0], request(Phase.START, ask(asked=100)))
    pending: list[tuple[int, Pending[Reply]]] = []
    for number in range(1, 301):
        charge = request(Phase.UPDATE, ask(asked=100, used=1), number=number)
        pending.append((number, rng.choice(stores).charge(charge, b"")))
        if number % 25 == 0:
            await books.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        if rng.random() < 0.3:
            await asyncio.sleep(rng.choice((0, 0.001, 0.03)))
    ends = dict(zip([number for number, _ in pending], await ended(call for _, call in pending), strict=True))
    made = [int(record.key.partition(":")[2]) for _, record in await books.records("anna") if record.phase == 2]
    assert len(made) == len(set(made))
    assert {number for number, end in ends.items() if end in ("ok", "again")} <= set(made)
    assert not {number for number, end in ends.items() if end == "NotSent"} & set(made)
    assert await books.money("anna") == (1_000_000 - len(made), 100)
    assert len(made) > 50


async def test_a_stop_ends_although_its_cancellation_got_lost(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.wait_for of Python 3.11 can swallow one, in the middle of a connect: it was waited for without end."""
    link = RedisConnection(redis_url, now_ms=lambda: 0, unfenced=True)
    await link.start(5)
    checking, swallowed = asyncio.Event(), list[bool]()

    async def check() -> None:
        checking.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            if swallowed:
                raise
            swallowed.append(True)

    monkeypatch.setattr(link, "_check", check)
    link.look()
    await checking.wait()
    async with asyncio.timeout(60):
        await link.stop()
    assert swallowed


async def test_a_server_that_refuses_before_it_executes_was_not_called(books: LedgerCopy, worker: Worker) -> None:
    """`3004 only when the call was certainly not sent`: a replica too few, and the first write is refused."""
    store = await worker()
    await send(store, request(Phase.START, ask(asked=100)))
    await books.client.config_set("min-replicas-to-write", 1)
    try:
        assert await ended([store.charge(request(Phase.UPDATE, ask(asked=100, used=1), number=1), b"")]) == ["NotSent"]
    finally:
        await books.client.config_set("min-replicas-to-write", 0)
    assert await books.money("anna") == (1_000_000, 100)


async def test_a_late_reply_is_waited_for_and_one_nobody_wants_is_not(
    books: LedgerCopy, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`An answer that is late goes out while ... less than 10 s have passed` (charging.md 11); here 2 s."""
    monkeypatch.setattr(wire, "LATE_MS", 2_000)
    store = await worker()
    hanging = asyncio.create_task(books.client.execute_command("DEBUG", "SLEEP", "3.5"))
    await asyncio.sleep(0.2)
    first = store.charge(request(Phase.START, ask(asked=100)), b"")
    await asyncio.sleep(2)
    late = store.charge(request(Phase.UPDATE, ask(asked=100), number=1), b"")
    assert await ended([first]) == ["Lost"]
    assert (hanging.done(), late.settled) == (False, False)
    await hanging
    assert await ended([late]) == ["ok"]


async def test_a_server_that_restarts_loses_nothing_that_was_answered(
    books: LedgerCopy, worker: Worker, valkey: LiveValkey
) -> None:
    """`worker killed | nothing`, and a server stopped in good order likewise; meanwhile calls are refused or Lost."""
    store = await worker()
    await send(store, request(Phase.START, ask(asked=100)))
    calls = [store.charge(charge, b"") for charge in updates(20)]
    stopping = asyncio.create_task(asyncio.to_thread(valkey.stop))
    while not stopping.done():
        await asyncio.sleep(0.01)
        calls.append(store.charge(updates(1, first=len(calls) + 1)[0], b""))
    valkey.start()  # not in a thread: a server dies with the thread that started it
    ends = await ended(calls)
    made = [int(record.key.partition(":")[2]) for _, record in await books.records("anna") if record.phase == 2]
    assert {number for number, end in enumerate(ends, 1) if end in ("ok", "again")} <= set(made)
    assert not {number for number, end in enumerate(ends, 1) if end == "NotSent"} & set(made)
    assert await books.money("anna") == (1_000_000 - len(made), 100)


# --- the pass and its epoch -----------------------------------------------------------------------------------


async def publish(books: LedgerCopy, epoch: int, replid: str = "", shards: Iterable[int] = range(keys.SHARDS)) -> None:
    info: Any = await books.client.info("replication")
    said = f"{replid or info['master_replid']} {epoch}"
    await books.client.mset({keys.published(shard): said for shard in shards})


async def everything(books: LedgerCopy) -> dict[bytes, bytes]:
    """All keys but `published`, which is not of the calls."""
    names = sorted(await books.client.keys("*"))
    return {name: await books.client.dump(name) for name in names if not name.endswith(b":published")}


async def test_without_a_pass_nothing_is_sent(books: LedgerCopy, worker: Worker) -> None:
    """`If not: no call; 3004`: the store was never opened; not even the look-up of the session is written."""
    store = await worker(unfenced=False, wait_s=0.3)
    before = await everything(books)
    calls = [store.charge(request(Phase.START, ask(asked=100)), b""), store.post(topup("k"))]
    assert await ended(calls) == ["NotSent"] * 2
    assert await everything(books) == before


async def test_a_pass_of_another_history_is_none(books: LedgerCopy, worker: Worker) -> None:
    """`its replid is published for the shard`: this server's is not."""
    await publish(books, 5, replid="f" * 40)
    store = await worker(unfenced=False, wait_s=0.3)
    assert await ended([store.charge(request(Phase.START, ask(asked=100)), b"")]) == ["NotSent"]


async def test_one_shard_is_shut_and_the_others_charge_on(books: LedgerCopy, worker: Worker) -> None:
    """`its replid is published for the shard`: each has a history and an epoch of its own."""
    anna, bert = keys.shard_of("anna"), keys.shard_of("bert")
    await publish(books, 5)
    await publish(books, 6, shards=[bert])
    store = await worker(unfenced=False)
    assert (store.link.open_shards, store.link.why) == (keys.SHARDS, "")
    await publish(books, 7, replid="f" * 40, shards=[anna])
    async with asyncio.timeout(30):
        while store.link.open_shards == keys.SHARDS:
            await asyncio.sleep(0.005)
    assert (store.link.epoch_of(anna), store.link.epoch_of(bert)) == (None, b"6")
    assert (store.link.open_shards, store.link.epoch) == (keys.SHARDS - 1, b"6")
    shut = request(Phase.START, ask(asked=100))
    assert await ended([store.charge(shut, b""), store.account("anna")]) == ["NotSent", "NotSent"]
    await send(store, request(Phase.START, ask(asked=100), session="gw;2", account="bert"))
    assert [epoch for epoch, _ in await books.records("bert")] == ["6"]
    await publish(books, 8, shards=[anna])
    async with asyncio.timeout(30):
        while store.link.epoch_of(anna) is None:
            await asyncio.sleep(0.005)
    await send(store, shut)
    assert [epoch for epoch, _ in await books.records("anna")] == ["8"]


async def test_records_bear_the_epoch_of_the_pass(books: LedgerCopy, worker: Worker) -> None:
    """`XADD {s}:ledger <epoch>-* ...`; a new opening gives the next pass its epoch."""
    await publish(books, 5)
    store = await worker(unfenced=False)
    await send(store, request(Phase.START, ask(asked=100)))
    await publish(books, 6)
    await asyncio.sleep(1.2)
    await send(store, updates(1)[0])
    assert [epoch for epoch, _ in await books.records("anna")] == ["5", "6"]


async def test_a_pass_is_given_up_when_another_history_is_published(books: LedgerCopy, worker: Worker) -> None:
    """Checked `at least every half failover time`: here every second."""
    await publish(books, 5)
    store = await worker(unfenced=False)
    await publish(books, 6, replid="f" * 40)
    await asyncio.sleep(1.2)
    assert await ended([store.charge(request(Phase.START, ask(asked=100)), b"")]) == ["NotSent"]
    await publish(books, 7)
    await reconnected(store)
    assert await ended([store.charge(request(Phase.START, ask(asked=100)), b"")]) == ["ok"]


async def test_a_call_of_an_older_epoch_writes_nothing(books: LedgerCopy, worker: Worker) -> None:
    """`An older epoch is refused there with nothing written (outcome fenced)`: each operation."""
    await publish(books, 5)
    old = await worker(unfenced=False)
    await send(old, request(Phase.START, ask(asked=100)))
    await publish(books, 6)
    new = await worker(unfenced=False)
    await send(new, updates(1)[0])
    assert (old.link.epoch, new.link.epoch) == (b"5", b"6")  # the old one has not looked yet
    before = await everything(books)
    event = request(Phase.EVENT, ask(asked=5), session="sms;1")
    calls = [
        old.charge(updates(1, first=2)[0], b""),
        old.charge(request(Phase.STOP, use(5), number=3), b""),
        old.charge(event, b""),
        old.post(topup("k")),
        old.settings(AccountSettings("anna", START_MS, None, credit_limit=500)),
        old.expire(Expire("anna", "gw;1", START_MS + 10**8)),
    ]
    assert await ended(calls) == ["fenced"] * len(calls)
    assert await everything(books) == before
    assert (await send(new, updates(1, first=2)[0])).status == "ok"


async def test_a_call_sent_again_bears_the_epoch_of_then(
    books: LedgerCopy, worker: Worker, tap: tuple[Tap, str]
) -> None:
    """`sent once more, with the same key and the then current epoch`: what was done under 5 is answered under 6."""
    await publish(books, 5)
    store = await worker(tap[1], unfenced=False)
    tap[0].lose = 1
    call = store.charge(request(Phase.START, ask(asked=100)), b"")
    await publish(books, 6)
    assert await ended([call]) == ["again"]
    assert store.link.epoch == b"6"
    assert await ended([store.charge(updates(1)[0], b"")]) == ["ok"]
    assert [epoch for epoch, _ in await books.records("anna")] == ["5", "6"]
