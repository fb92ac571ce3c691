"""Hot functions alone: one CCR-U with one line, taken apart. Times are the best of several tries, which is what a busy
machine disturbs least."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from balances.keys import AccountKeys
from balances.migrations.migrate import migrate
from balances.model.store import Model
from balances.packing import fresh_account, pack
from balances.redis.connection import RedisConnection
from balances.redis.store import Store
from balances.structs.blob import raw_of
from balances.structs.charge import Charge, Outcome
from balances.structs.posting import AccountOpening
from loadtest.answers import AnswerReader
from loadtest.scenario import load
from loadtest.subscriber import UPDATE, LoadSession, Role, subscriber
from loadtest.templates import ids, session_id, stamp
from ocs.charging.answer import to_answer
from ocs.charging.decide import arrival, to_charge
from ocs.charging.diameter.translate import LocalIdentity, to_cca, to_request
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.profile import Profile
from ocs.charging.remembered import NO_FACTS, merged, told_by
from ocs.charging.request import ChargingRequest
from ocs.charging.settings import ChargingSettings
from ocs.processes.embedded import EmbeddedPostgres, EmbeddedValkey
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from tariffs.catalog import Assignment, Catalog
from tariffs.load import load_tariff
from tariffs.rating import rate
from tests.balances.ledger import bench as ledger_bench
from tests.balances.ledger import books
from tests.bench.processes import cpu_s

ACCOUNTS = 1_000
CHARGES = 30_000
WINDOW = 64  # charges on their way at once
TRIES = 7
GRANT = 3_145_728
LOCAL = LocalIdentity("ocs.example.net", "example.net", 1)


class AnsweredStore:
    """What the store has answered already."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self.value


class World:
    """One session of each of some accounts, seen from the charging side."""

    def __init__(self) -> None:
        scenario = load("data")
        host = "1.load.example.net"
        role = Role(scenario, scenario.plays[0], host=host, realm="example.net", destination="example.net")
        self.sessions = [
            LoadSession(role, subscriber(n), session_id(host, 1, n).encode(), updates=10**6) for n in range(ACCOUNTS)
        ]
        self.settings = ChargingSettings()
        tariff = files("tariffs").joinpath("examples", "demo.toml").read_bytes()
        self.catalog = Catalog([load_tariff(tariff, source="demo.toml")])
        self.profiles = [self.profile(n) for n in range(ACCOUNTS)]
        self.now_ms = time.time_ns() // 1_000_000
        self._number = 0
        self.facts = [NO_FACTS] * ACCOUNTS

    def profile(self, number: int) -> Profile:
        return Profile(f"s-{number:07d}", f"a-{number:07d}", 1, "EUR", "UTC", (Assignment("demo"),))

    def frame(self, number: int) -> bytes:
        """The next CCR of a session, as the network sends it."""
        session, self._number = self.sessions[number], self._number + 1
        frame = session.frame(ids(self._number), stamp(self.now_ms / 1_000))
        session.number += 1
        session.phase, session.used = UPDATE, [1_500_000]
        return frame

    def charge(self, number: int) -> tuple[Charge, bytes]:
        ccr = CreditControlRequest.decode(self.frame(number))
        request = to_request(ccr, ccr.origin_host, self.settings)
        service = self.settings.services.by_name["data"]
        profile = self.profiles[number]
        lines = [(line.rating_group, line.service_id) for line in request.lines]
        quote = rate(self.catalog, profile.assignments, "EUR", lines, request.inputs, self.now_ms)
        arrived = arrival(request, self.settings, self.now_ms)
        charge, context = to_charge(request, service, profile, quote, request.inputs, self.settings, arrived, 0)
        self.tell(number, request, charge)
        return charge, context

    def tell(self, number: int, request: ChargingRequest, charge: Charge) -> None:
        """The facts of a session, as a worker that knows it sends them."""
        facts = self.facts[number] = merged(self.facts[number], told_by(request))
        charge.told, charge.facts = told_by(request).raw, facts.raw


async def measure() -> dict[str, float]:
    """Microseconds by what was done."""
    found = _pure()
    home = Path(tempfile.mkdtemp(prefix="ocs-micro-"))
    try:
        found |= await _scripts(home)
        found |= await _ledger(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {name: round(spent, 2) for name, spent in found.items()}


def _pure() -> dict[str, float]:
    world = World()
    model = Model()
    account = fresh_account("a-0000000", "EUR")
    account.buckets[0].amount = 10**14
    model.open("a-0000000", AccountOpening(raw_of(pack(account)), [], [], world.now_ms, "open"))
    model.charge(*world.charge(0))
    frame = world.frame(0)
    ccr = CreditControlRequest.decode(frame)
    request = to_request(ccr, ccr.origin_host, world.settings)
    service, profile = world.settings.services.by_name["data"], world.profiles[0]
    lines = [(line.rating_group, line.service_id) for line in request.lines]

    def rated() -> Any:
        return rate(world.catalog, profile.assignments, "EUR", lines, request.inputs, world.now_ms)

    def read() -> Any:
        one = CreditControlRequest.decode(frame)  # a fresh one: what is decoded lazily is paid for here
        return to_request(one, one.origin_host, world.settings)

    quote, arrived = rated(), arrival(request, world.settings, world.now_ms)
    charge, packed = to_charge(request, service, profile, quote, request.inputs, world.settings, arrived, 0)
    world.tell(0, request, charge)
    reply = model.charge(charge, packed)
    outcome = msgspec.msgpack.decode(reply.outcome, type=Outcome)
    answer = to_answer(request, service, profile, quote, outcome, charge)
    cca = to_cca(ccr, answer, LOCAL, world.settings.services).answer(ccr)
    reader = AnswerReader()
    session = world.sessions[0]
    head, when, keys = ids(1), stamp(0), AccountKeys("a-0000000")

    class AtHand:
        opened_ms = 0

        def of(self, identities: tuple[str, ...]) -> Profile:
            return profile

        def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> AnsweredStore:
            pack(charge)
            return ready

    ready, at_hand = AnsweredStore(reply), AtHand()
    context = ChargingContext(
        catalog=world.catalog,
        profiles=at_hand,  # type: ignore[arg-type]  # never loads: everybody is at hand
        store=at_hand,  # type: ignore[arg-type]
        settings=world.settings,
        restore=AnsweredStore,
        session_known=lambda session: AnsweredStore(None),
        request_known=lambda charge: AnsweredStore(None),
        event_known=lambda account, key: AnsweredStore(None),
        jitter=lambda: 0,
    )

    def whole() -> bytes:
        one = CreditControlRequest.decode(frame)
        try:
            handle(to_request(one, one.origin_host, world.settings), context, world.now_ms).send(None)
        except StopIteration as end:
            return to_cca(one, end.value, LOCAL, world.settings.services).answer(one)
        raise AssertionError

    assert whole() == cca
    assert keys.account
    return {
        "decode CCR-U": _best(lambda: CreditControlRequest.decode(frame)),
        "to_request": _best(read) - _best(lambda: CreditControlRequest.decode(frame)),
        "rate": _best(rated),
        "to_charge": _best(
            lambda: to_charge(request, service, profile, quote, request.inputs, world.settings, arrived, 0)
        ),
        "pack charge": _best(lambda: pack(charge)),
        "to_answer": _best(lambda: to_answer(request, service, profile, quote, outcome, charge)),
        "to_cca and encode": _best(lambda: to_cca(ccr, answer, LOCAL, world.settings.services).answer(ccr)),
        "frame to frame, without store and socket": _best(whole),
        "model.charge (the twin: climb and all)": _best(lambda: model.charge(*world.charge(0)), 200)
        - _best(lambda: world.charge(0), 200),
        "loadtest: fill a CCR-U": _best(lambda: session.frame(head, when)),
        "loadtest: read a CCA": _best(lambda: reader.read(cca)),
    }


async def _scripts(home: Path) -> dict[str, float]:
    """charge.lua against a real Valkey, many on their way: CPU of both sides per call."""
    server = EmbeddedValkey(home, durability="everysec")
    server.start()
    world = World()
    link = RedisConnection(server.url, now_ms=lambda: time.time_ns() // 1_000_000, answer_ms_max=60_000, unfenced=True)
    try:
        await link.start(5)
        store = Store(link)
        for number in range(ACCOUNTS):
            account = fresh_account(f"a-{number:07d}", "EUR")
            account.buckets[0].amount = 10**14
            opening = AccountOpening(raw_of(pack(account)), [], [], world.now_ms, "open")
            reply = await store.open(account.id, opening).wait()
            assert reply.status == "ok", reply
        for number in range(ACCOUNTS):
            reply = await store.charge(*world.charge(number)).wait()
            assert reply.status == "ok", reply
        charges = [world.charge(count % ACCOUNTS) for count in range(CHARGES)]
        before, client_s, started = cpu_s(server.pid), time.process_time(), time.monotonic()
        await _pipelined(store, charges)
        wall, client_s = time.monotonic() - started, time.process_time() - client_s
        spent = cpu_s(server.pid)
        return {
            "charge.lua: Valkey": (sum(spent.values()) - sum(before.values())) / CHARGES * 1e6,
            "charge.lua: our side of the connection": client_s / CHARGES * 1e6,
            "charge.lua: wall": wall / CHARGES * 1e6,
        }
    finally:
        await link.stop()
        server.kill()


async def _pipelined(store: Store, charges: list[tuple[Charge, bytes]]) -> None:
    left = iter(charges)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    flying = 0

    def landed(reply: Any, error: BaseException | None) -> None:
        nonlocal flying
        flying -= 1
        if error is not None or reply.status != "ok":
            done.set_exception(error or RuntimeError(reply.status))
            return
        start()

    def start() -> None:
        nonlocal flying
        following = next(left, None)
        if following is not None:
            flying += 1
            store.charge(*following).then(landed)
        elif not flying and not done.done():
            done.set_result(None)

    for _ in range(WINDOW):
        start()
    await done


async def _ledger(home: Path) -> dict[str, float]:
    """The copy from the streams into PostgreSQL, per record."""
    valkey, postgres = EmbeddedValkey(home / "l", durability="everysec"), EmbeddedPostgres(home / "l")
    valkey.start()
    postgres.start()
    try:
        await migrate(postgres.dsn)
        kept = await books.connect(valkey.url, postgres.dsn)
        await kept.open()
        await ledger_bench.fill(kept, 2_000, 20_000)
        before, client_s = cpu_s(postgres.pid), time.process_time()
        written = 0
        while step := (await kept.sync.step()).written:
            written += step
        client_s = time.process_time() - client_s
        spent = sum(cpu_s(postgres.pid).values()) - sum(before.values())
        await books.close(kept)
        return {
            "ledger: our side per record": client_s / written * 1e6,
            "ledger: PostgreSQL per record": spent / written * 1e6,
        }
    finally:
        with contextlib.suppress(Exception):
            postgres.kill()
        valkey.kill()


def _best(call: Callable[[], object], repeat: int = 2_000) -> float:
    """Microseconds of a call, at best."""
    best = float("inf")
    for _ in range(TRIES):
        started = time.perf_counter()
        for _ in range(repeat):
            call()
        best = min(best, time.perf_counter() - started)
    return best / repeat * 1e6
