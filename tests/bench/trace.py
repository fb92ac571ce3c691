"""What the kernel saw of the server's processes, from `perf`: who ran, who waited for a CPU, who read and wrote what.

Needs `perf`, `ss` and the right to trace (root). Instants are nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import re
import signal
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

READS: Final = ("read", "recvfrom", "recvmsg", "readv")
WRITES: Final = ("write", "sendto", "sendmsg", "writev")
SYNCS: Final = ("fdatasync", "fsync")
RUNS, WAITS, SLEEPS, BLOCKED = "runs", "waits for a CPU", "sleeps", "waits for the disk"
FOREVER: Final = 1 << 62

_LINE: Final = re.compile(r"\s*(\d+)\s+\[(\d+)\]\s+(\d+)\.(\d{9}):\s+(\w+):(\w+):\s+(.*)")
_SWITCH: Final = re.compile(r"prev_pid=(\d+) prev_prio=\d+ prev_state=(\S+) ==> next_comm=.* next_pid=(\d+)")
_WAKEUP: Final = re.compile(r" pid=(\d+) ")
_TARGET: Final = re.compile(r"target_cpu=(\d+)")
_DESCRIPTOR: Final = re.compile(r"(?:fd|s): 0x([0-9a-f]+)")
_PEER: Final = re.compile(r'\("[^"]*",pid=(\d+),fd=(\d+)\)')


class Spell(NamedTuple):
    """A time in which a process did one thing."""

    begin_ns: int
    what: str
    cpu: int
    """Where it ran, or waited."""


class SystemCall(NamedTuple):
    """A read or a write that moved something, or a sync."""

    begin_ns: int
    end_ns: int


class ProcessTrace:
    """One process (its main thread)."""

    def __init__(self) -> None:
        self.spells: list[Spell] = []
        self.reads: defaultdict[int, list[SystemCall]] = defaultdict(list)
        self.writes: defaultdict[int, list[SystemCall]] = defaultdict(list)
        self.read_from: list[tuple[int, int]] = []
        """Instant and descriptor of each read, in order: what is done until the next one is for that client."""
        self.syncs: list[SystemCall] = []
        self._inside: tuple[str, int, int] | None = None

    def now(self, at_ns: int, what: str, cpu: int) -> None:
        self.spells.append(Spell(at_ns, what, cpu))

    def enters(self, at_ns: int, call: str, descriptor: int) -> None:
        self._inside = (call, descriptor, at_ns)

    def leaves(self, at_ns: int, call: str, result: int) -> None:
        inside, self._inside = self._inside, None
        if inside is None or inside[0] != call:
            return
        done = SystemCall(inside[2], at_ns)
        if call in SYNCS:
            self.syncs.append(done)
        elif 0 < result < 1 << 62:  # a negative one, unsigned, is an error
            if call in READS:
                self.reads[inside[1]].append(done)
                self.read_from.append((at_ns, inside[1]))
            else:
                self.writes[inside[1]].append(done)

    def between(self, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int, str, int]]:
        """Pieces of that time: from, to, what it did, on which CPU. A sync is one, whatever the process does in it."""
        for start, end, what, cpu in self._spells(begin_ns, end_ns):
            at = start
            for sync in self.syncs[max(0, bisect_left(self.syncs, (start,)) - 1) :]:
                if sync.begin_ns >= end:
                    break
                if sync.end_ns <= at:
                    continue
                if sync.begin_ns > at:
                    yield at, sync.begin_ns, what, cpu
                at = min(end, sync.end_ns)
                yield max(start, sync.begin_ns), at, BLOCKED, cpu
            if at < end:
                yield at, end, what, cpu

    def _spells(self, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int, str, int]]:
        spells = self.spells
        at = max(0, bisect_right(spells, (begin_ns, "\uffff", 0)) - 1)
        while at < len(spells) and spells[at].begin_ns < end_ns:
            until = spells[at + 1].begin_ns if at + 1 < len(spells) else FOREVER
            start, end = max(begin_ns, spells[at].begin_ns), min(end_ns, until)
            if start < end:
                yield start, end, spells[at].what, spells[at].cpu
            at += 1

    def goes(self, begin_ns: int, end_ns: int) -> list[int]:
        """For how long it ran each time between two sleeps, without what it waited for a CPU."""
        found, ran = [], 0
        for start, end, what, _ in self._spells(begin_ns, end_ns):
            if what == RUNS:
                ran += end - start
            elif what != WAITS:
                found.append(ran)
                ran = 0
        return [one for one in (*found, ran) if one]


class Trace:
    """
    pids: of the processes that are looked at
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self.of = {pid: ProcessTrace() for pid in pids}
        self.cpus: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        """By CPU, instants from which on a process ran there."""

    def line(self, text: str) -> None:
        """One of `perf script`."""
        found = _LINE.match(text)
        if found is None:
            return
        tid, cpu, at_ns = int(found[1]), int(found[2]), int(found[3]) * 1_000_000_000 + int(found[4])
        event, words = found[6], found[7]
        if event == "sched_switch":
            if (switch := _SWITCH.search(words)) is not None:
                self._switch(at_ns, cpu, int(switch[1]), switch[2], int(switch[3]))
        elif event == "sched_wakeup":
            if (woken := _WAKEUP.search(" " + words)) is not None and (of := self.of.get(int(woken[1]))) is not None:
                target = _TARGET.search(words)
                if not of.spells or of.spells[-1].what not in (RUNS, WAITS):
                    of.now(at_ns, WAITS, int(target[1]) if target else cpu)
        elif (of := self.of.get(tid)) is not None:
            side, _, call = event.removeprefix("sys_").partition("_")
            if side == "enter":
                descriptor = _DESCRIPTOR.search(words)
                of.enters(at_ns, call, int(descriptor[1], 16) if descriptor else -1)
            else:
                of.leaves(at_ns, call, int(words, 16))

    def _switch(self, at_ns: int, cpu: int, before: int, state: str, after: int) -> None:
        self.cpus[cpu].append((at_ns, after))
        if (of := self.of.get(before)) is not None:
            of.now(at_ns, WAITS if state.startswith("R") else BLOCKED if state.startswith("D") else SLEEPS, cpu)
        if (of := self.of.get(after)) is not None:
            of.now(at_ns, RUNS, cpu)

    def runners(self, cpu: int, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
        """Who ran there, and for how long."""
        switches = self.cpus[cpu]
        at = max(0, bisect_right(switches, (begin_ns, 1 << 30)) - 1)
        while at < len(switches) and switches[at][0] < end_ns:
            until = switches[at + 1][0] if at + 1 < len(switches) else FOREVER
            took = min(end_ns, until) - max(begin_ns, switches[at][0])
            if took > 0:
                yield switches[at][1], took
            at += 1


class Socket(NamedTuple):
    pid: int
    descriptor: int


async def connections() -> dict[Socket, Socket]:
    """Of connections inside this machine, which end is connected to which."""
    found: dict[Socket, Socket] = {}
    for options in ("-xpHn", "-tpHn"):
        ends: dict[tuple[str, str], list[Socket]] = {}
        for line in (await _out("ss", options, "state", "established")).splitlines():
            words = line.split()
            local, peer = _names(words)
            ends[local, peer] = [Socket(int(pid), int(fd)) for pid, fd in _PEER.findall(line)]
        for (local, peer), mine in ends.items():
            for one in mine:
                for other in ends.get((peer, local), []):
                    found[one] = other
    return found


def _names(words: list[str]) -> tuple[str, str]:
    """Both ends of a line of `ss`: a path, or *, and the number of its socket; or address:port."""
    words = [word for word in words if not word.startswith("users:")]
    if words[0].startswith("u_"):
        return words[-3], words[-1]
    return words[-2], words[-1]


class Recording:
    """`perf record` of scheduling everywhere and of what these processes read, write and sync."""

    def __init__(self, home: Path, pids: Iterable[int], traced: Iterable[int]) -> None:
        """pids: whose times are followed. traced: whose system calls are, too"""
        self._file, self.trace = home / "perf.data", Trace(pids)
        self._filter = " || ".join(f"common_pid == {pid}" for pid in traced)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        calls = [f"syscalls:sys_{side}_{call}" for call in (*READS, *WRITES, *SYNCS) for side in ("enter", "exit")]
        words = ["-e", "sched:sched_switch", "-e", "sched:sched_wakeup"]
        for call in calls:
            words += ["-e", call, "--filter", self._filter]
        self._process = await asyncio.create_subprocess_exec(
            *("perf", "record", "-q", "-a", "-k", "CLOCK_MONOTONIC", "-m", "4M", "-o", str(self._file), *words),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await asyncio.sleep(1.0)

    async def stop(self) -> Trace:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        await self._process.wait()
        for line in (
            await _out("perf", "script", "-i", str(self._file), "--ns", "-F", "tid,cpu,time,event,trace")
        ).splitlines():
            self.trace.line(line)
        return self.trace


async def _out(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await child.communicate()
    return out.decode(errors="replace")
