"""The run: whenever a packet may be sent, the next session of some NAS sends its own. As loadtest/runner.py, by RADIUS.

A NAS that reboots loses its sessions, and begins its Acct-Session-Ids anew: the same port gives the same ids again.
Accounting packets that wait for an answer then are not lost, as in a NAS that keeps them in flash: so what is owed is
known exactly.
"""

import asyncio
import itertools
import random
import time
from collections import Counter, deque

from hdrh.histogram import HdrHistogram

from loadtest.bras.obeying import DynamicCounts, TellingServer
from loadtest.bras.packets import AccountingFacts, access_request, accounting_on, accounting_request, face_of
from loadtest.bras.scenario import BrasScenario
from loadtest.bras.session import BrasPhase, BrasSession, bras_subscriber
from loadtest.bras.wire import BrasNetwork, BrasRequest, BrasSocket, RadiusTarget
from loadtest.pace import Pacer, plan
from loadtest.pricing import LoadPrice
from loadtest.runner import LATENCY_US_MAX, AuditDues
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import CLASS
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.packet import Packet

ACCEPT, REJECT = PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT
DRAIN_S = 60.0
IN_FLIGHT_AT_END = 256
REJECTED_PAUSE_S = 1.0
"""A subscriber that was rejected tries again after that."""


class BrasStats:
    """What is measured between two instants. Latency from the planned instant, repeats included."""

    def __init__(self) -> None:
        self.auth_us, self.acct_us = HdrHistogram(1, LATENCY_US_MAX, 3), HdrHistogram(1, LATENCY_US_MAX, 3)
        self.results: Counter[str] = Counter()
        """By kind of packet and answer."""
        self.since_ns = time.monotonic_ns()
        self.until_ns = 0

    @property
    def answered(self) -> int:
        return self.results.total()

    @property
    def seconds(self) -> float:
        return ((self.until_ns or time.monotonic_ns()) - self.since_ns) / 1e9

    @property
    def rate(self) -> float:
        return self.answered / max(1e-9, self.seconds)

    def add(self, other: "BrasStats") -> None:
        self.auth_us.add(other.auth_us)
        self.acct_us.add(other.acct_us)
        self.results += other.results


class NasBox:
    """One NAS: its sockets, and the ids it gives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.auth: list[BrasSocket] = []
        self.acct: list[BrasSocket] = []
        self.is_up = True
        self.parked: list[int] = []
        """Subscribers that wait for it to come up."""
        self._given: Counter[int] = Counter()
        self._turn = itertools.count()

    def next_id(self, place: int) -> str:
        """The Acct-Session-Id of a new session at that port."""
        self._given[place] += 1
        return f"{place:08x}-{self._given[place]:04x}"

    def restart(self) -> None:
        self._given.clear()

    def take(self, sockets: list[BrasSocket]) -> tuple[BrasSocket, int] | None:
        """A socket with a free identifier."""
        for _ in sockets:
            socket = sockets[next(self._turn) % len(sockets)]
            if (identifier := socket.take()) is not None:
                return socket, identifier
        return None


class BrasRun:
    """Plays a scenario against `target`: `open`, then `play`, then `finish`, then `close`."""

    def __init__(self, target: RadiusTarget, scenario: BrasScenario, *, seed: int = 0) -> None:
        self.scenario, self.target = scenario, target
        self.rng = random.Random(seed)
        self.network = BrasNetwork(
            target.secret, timeout_s=scenario.timeout_s, give_up_s=scenario.give_up_s,
            loss=scenario.loss, repeat=scenario.repeat, late_s=scenario.late_s, seed=seed + 1,
        )  # fmt: skip
        self.recent, self.total = BrasStats(), BrasStats()
        self.dues = AuditDues(-(-scenario.subscribers // scenario.accounts_shared_by))
        self.open_sessions: dict[tuple[str, str], BrasSession] = {}
        """By NAS and Acct-Session-Id; what has not ended or vanished."""
        self.pending: set[BrasSession] = set()
        """Ended or vanished, with answers outstanding."""
        self.telling = TellingServer(target.secret, self, seed=seed + 2)
        self.wrong_logins: list[str] = []
        """Wrong passwords that were accepted."""
        self.reboots = self.peak_octets = 0
        self.nases = [NasBox(f"bras{number + 1}.example.net") for number in range(scenario.nases)]
        self._price = LoadPrice(scenario.price.price, scenario.price.block)
        self._idle: deque[BrasSession] = deque()
        self._free = deque(range(scenario.subscribers))
        self._fresh = min(1.0, 1.5 / scenario.packets_per_session)
        self._ending = False

    @property
    def dynamic(self) -> DynamicCounts:
        return self.telling.counts

    async def open(self, coa: tuple[str, int] | None = None) -> None:
        """coa: where CoA and Disconnect are listened for."""
        host, auth, acct, _, source = self.target
        for nas in self.nases:
            for _ in range(self.scenario.sockets):
                nas.auth.append(await self.network.open(host, auth, source))
                nas.acct.append(await self.network.open(host, acct, source))
        if coa is not None:
            await self.telling.open(coa)

    async def close(self) -> None:
        self.telling.close()
        await self.network.stop()

    # ---- the ways to run

    async def play(self) -> None:
        """Every NAS comes up; then open loop at the scenario's rate, with the reboots in between."""
        for nas in self.nases:
            await self._comes_up(nas)
        scenario = self.scenario
        rebooting = [
            asyncio.ensure_future(self._reboot(nas, scenario.duration_s * (number + 1) / (scenario.reboots + 1)))
            for number, nas in zip(range(scenario.reboots), itertools.cycle(self.nases), strict=False)
        ]
        self.turn_page()
        self.total = BrasStats()
        pacer = Pacer(plan(scenario.rate, scenario.pacing, self.rng), self._fire)
        pacer.start()
        try:
            await asyncio.sleep(scenario.duration_s)
        finally:
            pacer.stop()
            for task in rebooting:
                task.cancel()
            await asyncio.gather(*rebooting, return_exceptions=True)

    async def finish(self, wait_s: float = DRAIN_S) -> None:
        """Ends every open session and waits for the answers. What stays unanswered is in doubt."""
        self._ending, end = True, time.monotonic() + wait_s
        for nas in self.nases:
            if not nas.is_up:
                await self._comes_up(nas)
        while (self.open_sessions or self.pending) and time.monotonic() < end:
            for _ in range(min(len(self._idle), max(0, IN_FLIGHT_AT_END - self.network.in_flight))):
                self._fire(time.monotonic_ns())
            await asyncio.sleep(0.005)
        for session in [*self.open_sessions.values(), *self.pending]:
            self._leave_open(session)
        self.turn_page()

    def turn_page(self) -> BrasStats:
        """What happened since the last call."""
        recent, self.recent = self.recent, BrasStats()
        recent.until_ns = self.recent.since_ns
        self.total.add(recent)
        return recent

    # ---- reboots

    async def _reboot(self, nas: NasBox, after_s: float) -> None:
        await asyncio.sleep(after_s)
        nas.is_up = False
        gone = [session for (name, _), session in self.open_sessions.items() if name == nas.name]
        lost = set(gone)
        self._idle = deque(session for session in self._idle if session not in lost)
        for session in gone:
            self.vanish(session)
        await asyncio.sleep(self.scenario.down_s)
        nas.restart()
        await self._comes_up(nas)
        self.reboots += 1

    async def _comes_up(self, nas: NasBox) -> None:
        """Accounting-On, until it is answered."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken = nas.take(nas.acct)
        while taken is None:
            await asyncio.sleep(0.05)
            taken = nas.take(nas.acct)
        socket, identifier = taken

        def answered(_request: BrasRequest, reply: Packet | None, _now_ns: int) -> None:
            if done.done():  # the run is over
                return
            if reply is None:
                done.set_exception(ConnectionError(f"no RADIUS server at {self.target.host}:{self.target.acct_port}"))
            else:
                done.set_result(None)

        octets = accounting_on(identifier, nas.name, int(time.time()), self.target.secret)
        socket.send(BrasRequest(octets, answered, time.monotonic_ns()))
        await done
        nas.is_up = True
        self._free.extend(nas.parked)
        nas.parked.clear()

    # ---- one packet, one answer

    def _fire(self, planned_ns: int) -> bool:
        """Sends the next packet of somebody; False when nobody has one, or no identifier is free."""
        idle, full = self._idle, len(self.open_sessions) >= self.scenario.sessions or self._ending
        if not full and self._free and (not idle or self.rng.random() < self._fresh):
            session = self._begin()
            if session is None:
                return False
        elif idle:
            session = idle.popleft()
        else:
            return False
        if self._ending and not self._ends(session):
            return True
        if not self._send(session, planned_ns):
            idle.appendleft(session)
            return False
        return True

    def _ends(self, session: BrasSession) -> bool:
        """Whether it has something left to send when all are ended."""
        if session.phase is BrasPhase.LOGIN:
            self.vanish(session)
            return False
        session.finish()
        return True

    def _begin(self) -> BrasSession | None:
        for _ in range(len(self._free)):
            place = self._free.popleft()
            nas = self._nas_of(place)
            if nas.is_up:
                break
            nas.parked.append(place)
        else:
            return None
        who = bras_subscriber(place, self.scenario.accounts_shared_by)
        face = face_of(nas.name, place, who.user)
        session = BrasSession(self.scenario, self._price, who, face, nas.next_id(place), self.rng)
        self.open_sessions[nas.name, session.id] = session
        return session

    def _nas_of(self, place: int) -> NasBox:
        return self.nases[place % len(self.nases)]

    def hurry(self, session: BrasSession) -> None:
        """Send its next packet now, unless one is on its way: then that one comes first."""
        if session in self._idle:
            self._idle.remove(session)
            if not self._send(session, time.monotonic_ns()):
                self._idle.appendleft(session)

    def vanish(self, session: BrasSession) -> None:
        """The BRAS lost it: no Stop. What waits for an answer goes on waiting."""
        session.vanish()
        if session in self._idle:
            self._idle.remove(session)
        self._gone(session)

    def _gone(self, session: BrasSession) -> None:
        """It is no session of a NAS any more; its account is settled when all answers are there."""
        place = session.subscriber.place
        nas = self._nas_of(place)
        if self.open_sessions.pop((nas.name, session.id), None) is not None:
            (self._free if nas.is_up else nas.parked).append(place)
        if session.outstanding:
            self.pending.add(session)
        else:
            self.pending.discard(session)
            if session.in_doubt():
                self._leave_open(session)

    def _leave_open(self, session: BrasSession) -> None:
        self.dues.left_open.setdefault(session.subscriber.account, []).append(session.in_doubt())

    def _send(self, session: BrasSession, planned_ns: int) -> bool:
        nas = self._nas_of(session.subscriber.place)
        logs_in = session.phase is BrasPhase.LOGIN
        taken = nas.take(nas.auth if logs_in else nas.acct)
        if taken is None:
            return False
        socket, identifier = taken
        if logs_in:
            self._log_in(session, socket, identifier, planned_ns)
        else:
            self._account(session, socket, identifier, planned_ns)
        return True

    def _log_in(self, session: BrasSession, socket: BrasSocket, identifier: int, planned_ns: int) -> None:
        password = b"wrong" if session.wrong_password else session.subscriber.password
        authenticator = self.rng.randbytes(16)
        octets = access_request(
            identifier, authenticator, session.face, password, self.target.secret, chap=session.chap
        )
        session.outstanding += 1
        socket.send(
            BrasRequest(octets, lambda request, reply, at: self._logged_in(session, request, reply, at), planned_ns)
        )

    def _logged_in(self, session: BrasSession, request: BrasRequest, reply: Packet | None, now_ns: int) -> None:
        session.outstanding -= 1
        kind = "CHAP" if session.chap else "PAP"
        name = f"{kind}: {'no answer' if reply is None else PacketCode(reply.code).name.replace('_', '-').capitalize()}"
        self.recent.results[name] += 1
        if reply is not None:
            self.recent.auth_us.record_value(max(1, (now_ns - request.planned_ns) // 1_000))
        if session.phase is BrasPhase.OVER:
            self._gone(session)
        elif reply is not None and reply.code == ACCEPT:
            if session.wrong_password:
                self.wrong_logins.append(f"{session.subscriber.user}: a wrong password was accepted")
            session.accepted(reply.get_all(CLASS))
            self._idle.append(session)
        else:
            self._rejected(session)

    def _rejected(self, session: BrasSession) -> None:
        session.vanish()
        place = session.subscriber.place
        nas = self._nas_of(place)
        self.open_sessions.pop((nas.name, session.id), None)
        back = self._free if nas.is_up else nas.parked
        asyncio.get_running_loop().call_later(REJECTED_PAUSE_S, back.append, place)

    def _account(self, session: BrasSession, socket: BrasSocket, identifier: int, planned_ns: int) -> None:
        facts = session.facts(time.time())
        self.peak_octets = max(self.peak_octets, facts.total)
        octets = accounting_request(identifier, session.known, facts, self.target.secret)
        interim = facts.status is AcctStatusType.INTERIM_UPDATE
        overtaken = interim and bool(self.scenario.reorder) and self.rng.random() < self.scenario.reorder
        late_s = self.rng.random() * self.scenario.late_s if overtaken else 0.0
        session.outstanding += 1

        def answered(request: BrasRequest, reply: Packet | None, now_ns: int) -> None:
            self._acknowledged(session, facts, request, reply, now_ns, waits=not overtaken)

        socket.send(BrasRequest(octets, answered, planned_ns), late_s=late_s)
        if overtaken:
            self._idle.append(session)

    def _acknowledged(
        self, session: BrasSession, facts: AccountingFacts, request: BrasRequest, reply: Packet | None, now_ns: int,
        *, waits: bool,
    ) -> None:  # fmt: skip
        session.outstanding -= 1
        name = facts.status.name.replace("_", "-").capitalize()
        self.recent.results[name if reply is not None else f"{name}: no answer"] += 1
        if reply is not None:
            self.recent.acct_us.record_value(max(1, (now_ns - request.planned_ns) // 1_000))
            self.dues.micro[session.subscriber.account] += session.acknowledged(facts.total)
            self.dues.reports += 1
        if session.phase is not BrasPhase.OVER:
            if waits:
                self._idle.append(session)
        elif not session.outstanding:
            self._gone(session)
