"""`ocs run`: the one process that owns the listening sockets, the children, the embedded stores and /metrics.

It does no work of its own beyond that: a request never passes through it, a connection does so once, as a file
descriptor on its way to the least loaded worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import platform
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final, NamedTuple

from balances.ledger.formats import Reads
from ocs.build import package_version, this_build
from ocs.clock import cpu_us, monotonic_ms
from ocs.config.tree import Config
from ocs.net.diameter.claims import Claims, Holder
from ocs.net.tls import server_context
from ocs.processes.child_process import Child
from ocs.processes.control import (
    AskChildren,
    Children,
    ChildState,
    Claim,
    ClaimVerdict,
    Message,
    PeerClosed,
    Probe,
    Probed,
    Status,
)
from ocs.processes.data_lock import InUse, serving
from ocs.processes.embedded import EmbeddedError
from ocs.processes.embedded_stores import EmbeddedStores
from ocs.processes.entry import encode_config
from ocs.processes.handover import (
    FORMAT,
    VARIABLE,
    LeftBehind,
    command,
    hand_over,
    heard_again,
    kept,
    written,
)
from ocs.processes.listeners import (
    HTTP,
    RADSEC,
    CannotListen,
    address_of,
    bind,
    bind_shared,
    listeners,
    shared_listeners,
)
from ocs.processes.reception import Reception
from ocs.processes.registration import Registration, Said
from ocs.stores.guard import refused_at_start
from ocs.stores.hosts import HostProcess, HostState
from ocs.telemetry import metrics
from ocs.telemetry.exposition import MetricSums, Scrape
from ocs.telemetry.log import logger, setup
from ocs.telemetry.metrics import Series
from ocs.telemetry.process import disk_free_bytes, open_files, resident_bytes

TICK_S: Final = 0.5
REFRESH_S: Final = 0.5
"""How long a scrape waits for the children's numbers."""
KEEPER_S: Final = 30.0
"""For the keeper's last copy to PostgreSQL."""
SUCCEED_S: Final = 120.0
"""In a rolling restart, until the process that follows another one is ready."""
TRIAL_S: Final = 60.0
"""For the successor of the supervisor, to check its configuration."""
SAID_LINES: Final = 6
"""Of what it writes when it finds something wrong."""
SETTLED_MS: Final = 20_000
"""Until no message is half sent and no peer waits for a verdict, before a successor takes over."""
SETTLE_S: Final = 0.05
"""Between looks."""
FAST_S: Final = 1.0
"""From the second Ctrl-C to SIGKILL."""


class Addresses(NamedTuple):
    """Where it serves, as `host:port`; "" for what is off."""

    diameter: str
    diameter_tls: str
    http: str
    metrics: str
    radius_auth: str = ""
    radius_acct: str = ""
    radsec: str = ""


Ready = Callable[[Config, Addresses], Awaitable[None]]


def run(config: Config, on_ready: Ready | None = None, left: LeftBehind | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; the exit status. `on_ready` is called once, when all children are ready; left: by
    the supervisor whose place we take, which has called it."""
    setup(config.log.level, config.log.format, role="supervisor")
    return asyncio.run(Supervisor(config, on_ready, left).run())


def _ours(file: int) -> socket.socket:
    """A socket that was left open for us."""
    one = socket.socket(fileno=file)
    one.set_inheritable(False)
    return one


class Supervisor:
    def __init__(self, config: Config, on_ready: Ready | None = None, left: LeftBehind | None = None) -> None:
        self._config = config
        self._on_ready = on_ready
        self._left = left
        self._children: list[Child] = []
        self._workers: list[Child] = []
        self._listeners: dict[str, socket.socket] = {}
        self._shared: dict[str, list[socket.socket]] = {}
        """By key, one socket for each process that listens there."""
        self._claims = Claims(self._probe, self._verdict)
        self._sums = MetricSums()
        self._meter = metrics.Meter()
        self._stopping = asyncio.Event()
        self._fast = asyncio.Event()
        self._was_ready = False
        self._announced = False
        self._stores = EmbeddedStores()
        self._registration: Registration | None = None
        self._leaving: list[Child] = []
        """Processes that others have followed, until they have ended."""
        self._restarting: asyncio.Task[None] | None = None
        self._lock = -1
        """The file that holds the data directory."""
        self._refused = ""
        """Why this build may not work on the store."""

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop)
        # A terminal that closes, or `systemctl reload`, must not stop a charging server.
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        heard_again()
        try:
            with serving(self._config.data, self._left.lock if self._left is not None else None) as self._lock:
                return await self._start()
        except (InUse, OSError) as why:
            logger().error("start.failed", why=str(why))
            return 1

    async def _start(self) -> int:
        status = 0
        try:
            self._bind()
            logger().info("listening", **self._where)
            self._config = await self._stores.start(self._config)
            risky = await refused_at_start(self._config)
            if risky:
                logger().error("start.failed", why=risky)
                status = 1
            elif not self._stopping.is_set():
                status = await self._serve()
        except (CannotListen, EmbeddedError) as why:
            logger().error("start.failed", why=str(why))
            status = 1
        finally:
            for listener in (*self._listeners.values(), *itertools.chain(*self._shared.values())):
                listener.close()
            await self._stores.stop()
        return status

    # ---- start

    def _bind(self) -> None:
        if self._config.diameter.speaks_tls:  # each worker reads them for itself; what is wrong is said here and once
            server_context(self._config.diameter.tls_cert, self._config.diameter.tls_key, self._config.diameter.tls_ca)
        radius = self._config.radius
        if radius.clients and radius.radsec_listen:
            server_context(radius.tls_cert, radius.tls_key, radius.tls_ca, "radius")
        if self._left is not None:
            self._listeners = {key: _ours(file) for key, file in self._left.listeners.items()}
            self._shared = {key: [_ours(file) for file in files] for key, files in self._left.shared.items()}
            return
        for key, listen in listeners(self._config).items():
            if listen:
                self._listeners[key] = bind(key, listen.host, listen.port)
        for key, (listen, count) in shared_listeners(self._config).items():
            if listen:
                self._shared[key] = bind_shared(key, listen.host, listen.port, count)

    @property
    def addresses(self) -> Addresses:
        sockets = {key: [one] for key, one in self._listeners.items()} | self._shared
        keys = ("diameter.listen", "diameter.tls_listen", HTTP, "metrics.listen")
        own = ("radius.auth_listen", "radius.acct_listen", RADSEC)
        return Addresses(*(address_of(sockets[key][0]) if key in sockets else "" for key in (*keys, *own)))

    @property
    def _where(self) -> dict[str, str]:
        return {key: where for key, where in self.addresses._asdict().items() if where}

    async def _serve(self) -> int:
        if why := await self._join():
            logger().error("start.failed", why=why)
            return 1
        left = self._left
        self._reception = Reception(
            self._config.diameter, self._listeners, self._workers, self._meter, left.last_connection if left else 0
        )
        self._meter.counts(metrics.BUILD)[package_version(), platform.python_version()] = 1
        self._meter.read(metrics.CPU, "supervisor", by=cpu_us)
        self._meter.read(metrics.MEMORY, "supervisor", by=resident_bytes)
        self._meter.read(metrics.OPEN_FILES, "supervisor", by=open_files)
        self._meter.read(metrics.DISK_FREE, by=lambda: disk_free_bytes(self._config.data))
        roles = self._config.host.roles
        if "keeper" in roles:
            self._new("keeper", 0, nice=self._config.ledger.nice)
        if "api" in roles:
            for number in range(self._config.http.processes if HTTP in self._shared else 1):
                self._new("api", number, self._shared[HTTP][number] if HTTP in self._shared else None)
        for number in range(self._config.workers if "worker" in roles else 0):
            worker_sockets = {key: sockets[number] for key, sockets in self._shared.items() if key != HTTP}
            self._workers.append(self._new("worker", number, worker_sockets=worker_sockets))
        if left is None:
            for child in self._children:
                child.start()
        else:
            self._adopt(left)
        scrape = None
        if "metrics.listen" in self._listeners:
            handler = Scrape(self._sums, before=self._measure, refresh=self._refresh, health=self._health).serve
            scrape = await asyncio.start_server(handler, sock=self._listeners["metrics.listen"])
        assert self._registration is not None
        self._registration.begin()
        if left is not None:
            self._restarting = asyncio.ensure_future(self._restart())
        while not self._stopping.is_set():
            self._tick()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        await self._notice()
        await self._drain()
        await self._registration.leave()
        if scrape is not None:
            scrape.close()
        return 1 if self._refused or any(child.unfit for child in self._children) else 0

    def _adopt(self, left: LeftBehind) -> None:
        """Go on where the supervisor before us stopped."""
        self._sums.update("left", tuple(Series(*series) for series in left.sums))
        self._sums.ended("left")
        places = [
            next(child for child in self._children if (child.role, child.number) == (one.role, one.number))
            for one in left.children
        ]
        for child, one in zip(places, left.children, strict=True):
            child.adopt(one)
        for host, held in left.claims.items():
            for place, connection in held:
                self._claims.hold(host, Holder(places[place], connection))
        self._was_ready = self._announced = True
        logger().info("supervisor.took_over", **self._where)
        self._reception.open()

    def _new(
        self,
        role: str,
        number: int,
        listener: socket.socket | None = None,
        worker_sockets: Mapping[str, socket.socket] = {},
        nice: int = 0,
    ) -> Child:
        child = Child(
            role,
            number,
            lambda: encode_config(self._config),
            self._received,
            self._ended,
            listener,
            worker_sockets,
            nice,
        )
        self._children.append(child)
        return child

    # ---- among the hosts of the store

    async def _join(self) -> str:
        """Why this build may not work on this store, "" when it may."""
        self._registration = Registration(
            self._config.postgres.dsn.reveal(),
            self._config.host.name or socket.gethostname(),
            self._said,
            self._asked_to_restart,
            self._may_not_work,
            self._left.run if self._left is not None else "",
        )
        return await self._registration.first()

    def _said(self) -> Said:
        """What the other hosts are told of this one: what all its processes read, and any of them uses."""
        builds = [build for child in (*self._children, *self._leaving) if (build := child.status.build) is not None]
        ours = this_build()
        reads = Reads(
            max([ours.reads_from, *(build.reads_from for build in builds)]),
            min([ours.reads_to, *(build.reads_to for build in builds)]),
        )
        libraries = sorted({*ours.libraries, *(name for build in builds for name in build.libraries)})
        why = self._why_not_ready
        totals = self._sums.totals()
        heard = {labels[0] for (name, labels), _ in totals.items() if name == metrics.PEER_REQUESTS.name}
        state = HostState(
            self._config.host.roles,
            ours.name,
            not why,
            why,
            self._http,
            tuple(
                HostProcess(one.role, one.number, one.ready, one.reason, one.build, one.catalog)
                for one in (child.state for child in self._children)
            ),
            tuple(self._claims.hosts),
            tuple(sorted(heard & {client.name for client in self._config.radius.clients if client.name})),
        )
        return Said(reads, tuple(libraries), state)

    @property
    def _http(self) -> str:
        """Where other hosts reach the API of this one; the machine's name where it listens everywhere."""
        host, _, port = self.addresses.http.rpartition(":")
        if not port:
            return ""
        everywhere = host in ("0.0.0.0", "[::]")
        return f"{self._config.http.scheme}://{socket.gethostname() if everywhere else host}:{port}"

    @property
    def _why_not_ready(self) -> str:
        states = [self._state, *(child.state for child in self._children)]
        return next((f"{one.role} {one.number}: {one.reason or 'not ready'}" for one in states if not one.ready), "")

    def _health(self, path: str) -> tuple[int, str] | None:
        """`/healthz` and `/readyz` beside the metrics: of hosts without an API too."""
        if path == "/healthz":
            return 200, "ok"
        if path != "/readyz":
            return None
        why = self._why_not_ready
        return (503, why) if why else (200, "ok")

    def _may_not_work(self, why: str) -> None:
        logger().error("host.refused", why=why)
        self._refused = why
        self._stopping.set()

    async def _notice(self) -> None:
        """Say that we stop before we do, for balancers that ask seldom."""
        if self._config.host.notice_s and not self._refused:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.host.notice_s):
                    await self._fast.wait()

    # ---- a rolling restart

    def _asked_to_restart(self) -> None:
        if self._restarting is None and not self._stopping.is_set():
            self._restarting = asyncio.ensure_future(self._restart_all())

    async def _restart_all(self) -> None:
        """The supervisor first, so that all others start by its build and configuration; it does not return then."""
        if self._stores.embedded:  # the kernel ends them with us
            await self._restart()
            return
        why = await self._give_way()
        logger().error("restart.refused", why=why)
        self._restarting = None
        if not self._stopping.is_set():
            assert self._registration is not None
            await self._registration.restarted(f"refused: {why}", well=False)

    async def _give_way(self) -> str:
        """To a supervisor of the files and the configuration that are there now; why not, where that cannot be."""
        if why := await self._tried():
            return why
        until_ms = monotonic_ms() + SETTLED_MS
        while (left := self._to_leave()) is None:
            if self._stopping.is_set():
                return "the server stops"
            if monotonic_ms() > until_ms:
                return "a process is not ready, or a peer waits for its connection to be decided on"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await self._stopping.wait()
        files = [left.lock, *left.listeners.values(), *itertools.chain(*left.shared.values())]
        try:
            hand_over(left, [*files, *(child.channel for child in left.children)])
        except OSError as why_not:
            return str(why_not)

    async def _tried(self) -> str:
        """Why the same command would not start now, "" when it would."""
        note = written(LeftBehind(FORMAT, True, kept(self._config)))
        try:
            trial = await asyncio.create_subprocess_exec(
                *command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, VARIABLE: str(note)},
                pass_fds=(note,),
            )
        except OSError as why:
            return str(why)
        finally:
            os.close(note)
        try:
            async with asyncio.timeout(TRIAL_S):
                _, said = await trial.communicate()
        except TimeoutError:
            trial.kill()
            await trial.wait()
            return f"the new configuration could not be checked in {TRIAL_S:.0f} s"
        if trial.returncode == 0:
            return ""
        lines = said.decode(errors="replace").strip().splitlines() or [f"it ended with {trial.returncode}"]
        return "; ".join(line.removeprefix("Error: ") for line in lines[-SAID_LINES:])

    def _to_leave(self) -> LeftBehind | None:
        """None while something is under way that would be lost."""
        children = [left for child in self._children if (left := child.left) is not None]
        if len(children) < len(self._children) or self._leaving or not self._claims.settled:
            return None
        assert self._registration is not None
        places: dict[Hashable, int] = {child: place for place, child in enumerate(self._children)}
        self._measure()
        self._sums.ended("supervisor")
        return LeftBehind(
            FORMAT,
            False,
            kept(self._config),
            self._lock,
            self._registration.run_id,
            {key: one.fileno() for key, one in self._listeners.items()},
            {key: tuple(one.fileno() for one in sockets) for key, sockets in self._shared.items()},
            tuple(children),
            {
                host: tuple((places[one.child], one.connection) for one in held)
                for host, held in self._claims.held.items()
                if held
            },
            self._reception.last_connection,
            tuple((series.name, series.labels, series.values) for series in self._sums.left()),
        )

    async def _restart(self) -> None:
        """One process after the other: the one that follows is ready before the old one drains."""
        assert self._registration is not None
        why = ""
        logger().info("restart.began", processes=len(self._children))
        for place, old in enumerate(list(self._children)):
            if why := await self._follow(place, old):
                logger().error("restart.failed", child=str(old), why=why)
                break
        else:
            logger().info("restart.done", processes=len(self._children))
        self._restarting = None
        if not self._stopping.is_set():
            done = f"{len(self._children)} processes restarted"
            if self._stores.embedded:
                done += "; the configuration was not read anew: with embedded stores that takes a stop and a start"
            elif self._left is not None:
                done = f"supervisor and {done}"
            said = f"failed at {old}: {why}" if why else done
            await self._registration.restarted(said, well=not why)

    async def _follow(self, place: int, old: Child) -> str:
        """Another process in the place of this one; why not, where it does not get ready: then the old one stays."""
        new = old.successor()
        self._leaving.append(new)
        new.start()
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            async with asyncio.timeout(SUCCEED_S):
                while not new.status.ready and not new.unfit and not stopping.done():
                    new.told.clear()
                    told = asyncio.ensure_future(new.told.wait())
                    gone = asyncio.ensure_future(new.gone.wait())
                    await asyncio.wait((told, gone, stopping), return_when=asyncio.FIRST_COMPLETED)
                    told.cancel()
                    gone.cancel()
                    if gone.done() and not new.status.ready:
                        break
        except TimeoutError:
            pass
        finally:
            stopping.cancel()
        if self._stopping.is_set():
            return "the server stops"
        if not new.status.ready:
            why = new.status.reason or "it is not ready"
            await self._drain_one(new)
            self._leaving.remove(new)
            return why
        self._children[place] = new
        if old in self._workers:
            self._workers[self._workers.index(old)] = new
        self._leaving[self._leaving.index(new)] = old
        await self._drain_one(old)
        self._leaving.remove(old)
        return ""

    async def _became_ready(self) -> None:
        """All children are ready: load the demo and let its tariffs come into force, then accept network elements."""
        logger().info("serving", **self._where)
        if self._on_ready is not None:
            try:
                await self._on_ready(self._config, self.addresses)
            except Exception:
                logger().exception("start.not_announced")
        self._announced = True
        if not self._stopping.is_set():
            self._reception.open()

    # ---- while it serves

    def _tick(self) -> None:
        self._claims.tick(monotonic_ms())
        self._reception.resume()
        self._stores.mind()
        if not self._was_ready and all(child.status.ready for child in self._children):
            self._was_ready = True
            self._announcing = asyncio.ensure_future(self._became_ready())
        if any(child.unfit for child in self._children):
            self._stopping.set()

    def _received(self, child: Child, message: Message) -> None:
        match message:
            case Status():
                self._sums.update(child.key, message.metrics)
            case Claim(connection=connection, origin_host=host, several=several):
                self._reception.known((connection,))
                self._claims.claim(Holder(child, connection), host, several, monotonic_ms())
            case Probed(claim=claim, alive=alive):
                self._claims.probed(claim, alive)
            case PeerClosed(connection=connection):
                child.connections.discard(connection)
                self._reception.known((connection,))
                self._claims.closed(Holder(child, connection))
            case AskChildren():
                child.send(Children([self._state, *(one.state for one in self._children)]))
            case _:
                logger().error("child.unexpected", child=str(child), message=type(message).__name__)

    @property
    def _state(self) -> ChildState:
        """The state of the supervisor itself, in the form in which children report theirs."""
        reason = self._stores.trouble
        if self._stopping.is_set():
            reason = "stopping"
        elif not self._announced:
            reason = reason or "what is loaded at the start is not in force yet"
        return ChildState("supervisor", 0, os.getpid(), not reason, reason)

    def _ended(self, child: Child) -> None:
        self._claims.ended(child)
        self._reception.known(child.connections)
        self._sums.ended(child.key)
        if not child.draining:
            self._meter.counts(metrics.RESTARTS)[child.role,] += 1

    def _probe(self, holder: Holder, claim: int) -> None:
        assert isinstance(holder.child, Child)
        holder.child.send(Probe(claim, holder.connection))

    def _verdict(self, holder: Holder, granted: bool) -> None:
        assert isinstance(holder.child, Child)
        holder.child.send(ClaimVerdict(holder.connection, granted))

    async def _refresh(self) -> None:
        """Ask all children for their numbers; of a child that does not answer soon, the last ones are used."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_S):
                await asyncio.gather(*(child.refresh() for child in self._children))

    def _measure(self) -> None:
        processes = self._meter.counts(metrics.PROCESSES)
        processes.clear()
        for child in self._children:
            processes[child.role, "ready" if child.status.ready else "not ready"] += 1
        self._sums.update("supervisor", self._meter.snapshot())

    # ---- stop

    def _asked_to_stop(self) -> None:
        if not self._stopping.is_set():
            logger().info("stopping", pid=os.getpid())
            self._stopping.set()
        else:
            self._fast.set()

    def _asked_to_reload(self) -> None:
        logger().warning("reload.ignored", why="the configuration is read at the start, and by `ocs restart --rolling`")

    async def _drain(self) -> None:
        """Workers one by one, so that peers find another while there is one; then the keeper, which copies the last
        records, then the API, by which the rest could be watched."""
        self._reception.close()
        if self._restarting is not None:
            await self._restarting
        order = ("worker", "keeper", "api")
        for child in sorted((*self._leaving, *self._children), key=lambda child: order.index(child.role)):
            await self._drain_one(child)

    async def _drain_one(self, child: Child) -> None:
        child.drain(fast=self._fast.is_set())
        gone = asyncio.ensure_future(child.gone.wait())
        hurry = asyncio.ensure_future(self._fast.wait())
        patience_s = self._config.diameter.drain_s + (KEEPER_S if child.role == "keeper" else 5.0)
        await asyncio.wait((gone, hurry), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            child.drain(fast=True)
            await asyncio.wait((gone,), timeout=FAST_S)
        if not gone.done():
            logger().error("child.killed", child=str(child))
            child.signal(signal.SIGKILL)
            await gone
        hurry.cancel()
