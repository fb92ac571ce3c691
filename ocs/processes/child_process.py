"""One child process of the supervisor: started as a fresh interpreter, started again when it ends, drained, killed.

A child cannot outlive us: the kernel sends it SIGTERM when we die (ocs/processes/mortal.py), and the end of its channel
tells it as well. It has its own session, so that Ctrl-C in the terminal reaches only the supervisor, which
drains in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ocs.clock import monotonic_ms
from ocs.processes.control import (
    UNFIT,
    AskStatus,
    Channel,
    ChildState,
    Drain,
    Message,
    StartMessage,
    Status,
    WorkerSocket,
    decode_to_supervisor,
)
from ocs.processes.handover import ChildLeft
from ocs.processes.mortal import wrap
from ocs.telemetry.log import logger

BACK_OFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SETTLED_MS: Final = 60_000
"""A child that lived so long begins its back-off anew."""
REAP_S: Final = 2.0
SUCCESSORS_APART: Final = 1_000_000
"""Between the first incarnations of a child and of its successor: one that goes on being started again meanwhile has
none of the other's."""


class Adopted:
    """A child process that we did not start ourselves, since `exec`; like Popen, as far as it is used."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._code if self._code is not None else self._waited(os.WNOHANG)

    def wait(self) -> int:
        code = self._code if self._code is not None else self._waited(0)
        assert code is not None
        return code

    def _waited(self, options: int) -> int | None:
        pid, status = os.waitpid(self.pid, options)
        if pid:
            self._code = os.waitstatus_to_exitcode(status)
        return self._code


class Child:
    """`received(child, message)` gets what it says; `ended(child)` is called at each end of an incarnation."""

    def __init__(
        self,
        role: str,
        number: int,
        config: Callable[[], msgspec.Raw],
        received: Callable[[Child, Message], None],
        ended: Callable[[Child], None],
        listener: socket.socket | None = None,
        worker_sockets: Mapping[str, socket.socket] = {},
        nice: int = 0,
        incarnation: int = 0,
    ) -> None:
        self.role, self.number = role, number
        self.incarnation = incarnation
        self.status = Status(False, "starting", 0, ())
        self.connections: set[int] = set()
        self.was_ready = False
        """In this incarnation: before, it could not even refuse a request."""
        self.draining = False
        self.unfit = False
        self.told = asyncio.Event()
        """It has said how it is since this was cleared."""
        self.gone = asyncio.Event()
        self.gone.set()
        self._config, self._received, self._ended, self._listener = config, received, ended, listener
        self._worker_sockets = worker_sockets
        self._nice = nice
        self._process: subprocess.Popen[bytes] | Adopted | None = None
        self._channel: Channel | None = None
        self._started_ms = 0
        self._failures = 0
        self._reaping: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return f"{self.role} {self.number}"

    @property
    def key(self) -> tuple[str, int, int]:
        return (self.role, self.number, self.incarnation)

    @property
    def running(self) -> bool:
        return self._channel is not None

    @property
    def state(self) -> ChildState:
        pid = self._process.pid if self._process is not None else 0
        status = self.status
        build = status.build.name if status.build is not None else ""
        return ChildState(self.role, self.number, pid, status.ready, status.reason, status.catalog, build)

    def successor(self) -> Child:
        """Another process for the same place, with the same sockets, not started yet: both can serve at once."""
        return Child(
            self.role,
            self.number,
            self._config,
            self._received,
            self._ended,
            self._listener,
            self._worker_sockets,
            self._nice,
            self.incarnation + SUCCESSORS_APART,
        )

    @property
    def left(self) -> ChildLeft | None:
        """For who has it next; None while it is not running, or something is on its way to it."""
        channel = self._channel.left if self._channel is not None else None
        if channel is None or self._process is None or self.draining or not self.was_ready:
            return None
        return ChildLeft(
            self.role,
            self.number,
            self.incarnation,
            self._process.pid,
            *channel,
            msgspec.msgpack.encode(self.status),
            tuple(self.connections),
            monotonic_ms() - self._started_ms,
        )

    def adopt(self, left: ChildLeft) -> None:
        """It runs already, started by who had our place before."""
        self.incarnation = left.incarnation
        self._process = Adopted(left.pid)
        self._started_ms = monotonic_ms() - left.lived_ms
        self.was_ready = True
        self.connections.update(left.connections)
        self.gone.clear()
        end = socket.socket(fileno=left.channel)
        end.set_inheritable(False)
        self._channel = Channel(end, decode_to_supervisor, self._hear, self._lost, left.heard)
        status = decode_to_supervisor(left.status)
        self._hear(status, None)
        self.send(AskStatus())

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            command = [sys.executable, "-m", "ocs.processes.entry", str(theirs.fileno())]
            self._process = subprocess.Popen(
                wrap(command, "self", signal.SIGTERM, self._nice),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.incarnation += 1
        self.was_ready = False
        self._started_ms = monotonic_ms()
        self.status = Status(False, "starting", 0, ())
        self.gone.clear()
        self._channel = Channel(ours, decode_to_supervisor, self._hear, self._lost)
        listens, worker_sockets = self._listener is not None, len(self._worker_sockets)
        self.send(StartMessage(self.role, self.number, self._config(), listens, worker_sockets), self._listener)
        for key, one in self._worker_sockets.items():
            self.send(WorkerSocket(key), one)

    def send(self, message: Message, carried: socket.socket | None = None) -> None:
        if self._channel is not None:
            self._channel.send(message, carried)

    async def refresh(self) -> None:
        """Ask the child for its status, and wait for the answer."""
        if self.running:
            self.told.clear()
            self.send(AskStatus())
            await self.told.wait()

    def drain(self, *, fast: bool = False) -> None:
        self.draining = True
        self.send(Drain(fast))

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _hear(self, message: Message, _carried: socket.socket | None) -> None:
        if isinstance(message, Status):
            self.status = message
            self.told.set()
            self.was_ready = self.was_ready or message.ready
        self._received(self, message)

    def _lost(self) -> None:
        self._channel = None
        self._reaping = asyncio.get_running_loop().create_task(self._reap())

    async def _reap(self) -> None:
        """Wait for the process after its channel has ended; a process that goes on hanging is killed."""
        assert self._process is not None
        for _ in range(int(REAP_S / 0.01)):
            if self._process.poll() is not None:
                break
            await asyncio.sleep(0.01)
        else:
            self.signal(signal.SIGKILL)
        code = self._process.wait()
        self.status = Status(False, f"ended with {code}", 0, ())
        self._ended(self)
        self.connections.clear()
        self.unfit = code == UNFIT
        self.gone.set()
        if self.draining or self.unfit:
            return
        lived_ms = monotonic_ms() - self._started_ms
        self._failures = 1 if lived_ms > SETTLED_MS else self._failures + 1
        wait_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S)) - 1]
        logger().error("child.ended", child=str(self), status=code, lived_ms=lived_ms, again_in_s=wait_s)
        await asyncio.sleep(wait_s)
        if not self.draining:
            self.start()
