"""A child's connection to the supervisor: what it reports, and what it is told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from ocs.build import this_build
from ocs.clock import cpu_us, turn_s
from ocs.processes.collector import YOUNG, YOUNG_OF_BATCH, Collector
from ocs.processes.control import (
    AskChildren,
    AskStatus,
    Channel,
    Children,
    ChildState,
    Claim,
    ClaimVerdict,
    Connection,
    Dismiss,
    Drain,
    Message,
    PeerClosed,
    Probe,
    Probed,
    StartMessage,
    Status,
    WorkerSocket,
    decode_to_child,
)
from ocs.telemetry.metrics import CPU, MEMORY, OPEN_FILES, REQUESTS, Meter
from ocs.telemetry.process import open_files, resident_bytes

BEAT_S: Final = 0.5
"""Between beats: what a process does again and again it does at a beat, so that it is woken once for all of it. The
supervisor hears at each of one that serves requests: if it is killed, its counts of so long are lost."""
QUIET_S: Final = 5.0
"""How often it hears of one that serves none."""
ALONE_S: Final = 10.0
"""How long we finish things after the supervisor died."""


class Unfit(Exception):
    """No restart helps; the text is meant for the operator."""


class SupervisorLink:
    """`connected`, `dismissed`, `probed` and `verdict` are set by who serves connections, a worker; others
    leave them."""

    def __init__(self, end: socket.socket) -> None:
        self.meter = Meter()
        self.draining = asyncio.Event()
        self.fast = asyncio.Event()
        self.why_unfit = ""
        self.listener: socket.socket | None = None
        self.worker_sockets: dict[str, socket.socket] = {}
        """By key of the configuration, this process's part of what all workers listen on."""
        self._first: StartMessage | None = None
        self.connected: Callable[[socket.socket, Connection], None] = lambda end, _connection: end.close()
        self.probed: Callable[[int, Callable[[bool], None]], None] = lambda _connection, tell: tell(False)
        self.dismissed: Callable[[int], None] = lambda _connection: None
        self.verdict: Callable[[int, bool], None] = lambda _connection, _granted: None
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[StartMessage] = self._loop.create_future()
        self._asked: list[asyncio.Future[list[ChildState]]] = []
        self._ready, self._reason, self._catalog = False, "starting", 0
        self._requests = self.meter.counts(REQUESTS)
        self._load: list[int] = [0, 0, 0]
        self._waiting: list[asyncio.Future[None]] = []
        self._at_beat: list[Callable[[], None]] = []
        self._told_s, self._was_busy = 0.0, False
        self._collector: Collector | None = None
        self._channel = Channel(end, decode_to_child, self._received, self._lost)

    async def start(self) -> StartMessage:
        """Receive the first message. From then on this process reports its status at an interval."""
        start = await self._started
        self.meter.read(CPU, start.role, by=cpu_us)
        self.meter.read(MEMORY, start.role, by=resident_bytes)
        self.meter.read(OPEN_FILES, start.role, by=open_files)
        self._beat()
        return start

    @property
    def name(self) -> str:
        """What this process is called beside others of the host, once it has started."""
        return "" if self._first is None else f"{self._first.role} {self._first.number}"

    # ---- what we tell

    def report(self, ready: bool, reason: str = "") -> None:
        """Ready to serve, or why not."""
        if ready and self._collector is None:
            is_keeper = self._first is not None and self._first.role == "keeper"
            young = YOUNG_OF_BATCH if is_keeper else YOUNG
            self._collector = Collector(lambda: sum(self._requests.values()), self._loop.time, young)
            self._collector.start()
            self.at_beat(self._collector.look)
        if (ready, reason) != (self._ready, self._reason):
            self._ready, self._reason = ready, reason
            self._tell()

    def prices_by(self, catalog: int) -> None:
        """Report the tariff version that this process prices by from now on."""
        self._catalog = catalog
        self._tell()

    def unfit(self, why: str) -> None:
        """Report that no restart helps; this process then ends, with a text for the operator."""
        self.why_unfit = why

    def claim(self, connection: int, origin_host: str, several: int) -> None:
        """Answered through `verdict`."""
        self._channel.send(Claim(connection, origin_host, several))

    def closed(self, connection: int) -> None:
        self._channel.send(PeerClosed(connection))

    async def children(self) -> list[ChildState]:
        """All children as the supervisor sees them, for /readyz."""
        asked: asyncio.Future[list[ChildState]] = self._loop.create_future()
        self._asked.append(asked)
        self._channel.send(AskChildren())
        return await asked

    def end(self) -> None:
        """Send a last report, so that no count is lost, and close."""
        self._tell()
        self._channel.close()

    def _beat(self) -> None:
        self._load = [*self._load[1:], sum(self._requests.values())]
        if self._load[0] != self._load[-1] or self._loop.time() - self._told_s >= QUIET_S or self._was_busy:
            self._was_busy = self._load[0] != self._load[-1]
            self._tell()
        self._loop.call_at(turn_s(self._loop.time(), BEAT_S), self._beat)
        for work in self._at_beat:
            work()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def at_beat(self, work: Callable[[], None]) -> None:
        """At every beat from now on."""
        self._at_beat.append(work)

    async def beat(self) -> None:
        """Until the next one, or until we are to drain."""
        one = self._loop.create_future()
        self._waiting.append(one)
        await one

    def drain(self) -> None:
        """We are to finish."""
        self.draining.set()
        self._wake()

    def _tell(self) -> None:
        self._told_s = self._loop.time()
        load = self._load[-1] - self._load[0]  # two beats: a second
        status = Status(self._ready, self._reason, load, self.meter.snapshot(), self._catalog, this_build())
        self._channel.send(status)

    # ---- what we are told

    def _received(self, message: Message, carried: socket.socket | None) -> None:
        match message:
            case Connection():
                assert carried is not None
                self.connected(carried, message)
            case ClaimVerdict(connection=connection, granted=granted):
                self.verdict(connection, granted)
            case Dismiss(connection=connection):
                self.dismissed(connection)
            case Probe(claim=claim, connection=connection):
                self.probed(connection, lambda alive: self._channel.send(Probed(claim, alive)))
            case StartMessage():
                self.listener, self._first = carried, message
                self._begin()
            case WorkerSocket(key=key):
                assert carried is not None
                self.worker_sockets[key] = carried
                self._begin()
            case Drain(fast=fast):
                self.drain()
                if fast:
                    self.fast.set()
            case AskStatus():
                self._tell()
            case Children(children=children):
                for asked in self._asked:
                    if not asked.done():
                        asked.set_result(children)
                self._asked.clear()
            case _:
                raise AssertionError(message)

    def _begin(self) -> None:
        """With all sockets of this process."""
        if (
            self._first is not None
            and len(self.worker_sockets) == self._first.worker_sockets
            and not self._started.done()
        ):
            self._started.set_result(self._first)

    def _lost(self) -> None:
        """Without a supervisor there is no new connection and nobody to restart us: finish and end."""
        self.drain()
        self.fast.set()
        self._loop.call_later(ALONE_S, os._exit, 1)  # nobody else would end what hangs


async def told_to_drain(supervisor: SupervisorLink) -> bool:
    """Waits for it until the next beat. Unfit when no restart can help this process."""
    if not supervisor.draining.is_set():
        await supervisor.beat()
    if supervisor.why_unfit and not supervisor.draining.is_set():
        raise Unfit(supervisor.why_unfit)
    return supervisor.draining.is_set()
