"""Where the slowest requests spend their time: `python -m tests.bench.tail`.

The client in C keeps a rate; `perf` records who ran and who waited. Each request is followed from its planned instant
through its worker, the store and back, and what the one it waits for did in that time is added up: for all requests
and for the slowest. On a machine that does other things too, what these take stands in lines of its own ("others").
Needs a C compiler, `perf`, `ss` and the right to trace.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from bisect import bisect_left
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import uvloop
from rich.console import Console
from rich.table import Table

from loadtest.api import Api
from loadtest.provision import Provision
from loadtest.scenario import load
from tests.bench import driver, idle
from tests.bench.server import BenchServer, running
from tests.bench.trace import RUNS, WAITS, Recording, Socket, SystemCall, Trace, connections

SUBSCRIBERS: Final = 1_000
CLIENT, WORKER, STORE = "client", "worker", "store"
OTHERS: Final = "others"


class Followed(NamedTuple):
    """A request: from its planned instant on, through whom it went until when."""

    planned_ns: int
    answered_ns: int
    stages: list[tuple[str, int, int]]
    """Who had it, its pid, until when."""


class Paths(NamedTuple):
    """How a request goes, by descriptor of the client."""

    client: int
    store: int
    worker: dict[int, Socket]
    """Its end of the client's connection."""
    store_end: dict[int, Socket]
    """The store's end of that worker's connection for calls, by the worker's pid."""
    link: dict[int, int]
    """The worker's descriptor of it."""
    role: dict[int, str]
    """Of all processes."""
    asker: dict[int, str]
    """By descriptor of the store, the role at the other end."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tail", description=__doc__)
    parser.add_argument("--durability", choices=["always", "everysec"], default="always")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--slowest", type=float, default=2.0, help="per cent of requests that are looked at")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    options = parser.parse_args()
    console = Console(width=140)
    requests, trace, paths = uvloop.run(_measured(options))
    show(console, requests, trace, paths, options.slowest)


async def _measured(options: argparse.Namespace) -> tuple[list[Followed], Trace, Paths]:
    scenario = load("data", subscribers=SUBSCRIBERS, sessions=SUBSCRIBERS)
    settings = [f"durability={options.durability}", f"workers={options.workers}", *options.settings]
    async with running(*settings) as server:
        async with Api(server.url, server.token) as api:
            await Provision(api, scenario).run()
        with tempfile.TemporaryDirectory(prefix="ocs-tail-") as home:
            return await _recorded(server, Path(home), options)


async def _recorded(
    server: BenchServer, home: Path, options: argparse.Namespace
) -> tuple[list[Followed], Trace, Paths]:
    program, log = driver.build(home), home / "each"
    words = driver.arguments(server.diameter_port, SUBSCRIBERS, options.seconds, 0, options.rate)
    client = await asyncio.create_subprocess_exec(program, *words, "-L", str(log), stdout=asyncio.subprocess.PIPE)
    await asyncio.sleep(1.0)  # it has connected, and warms up
    paths = paths_of(client.pid, idle.roles(server.pid), await connections())
    traced = [client.pid, paths.store, *{end.pid for end in paths.worker.values()}]
    recording = Recording(home, paths.role, traced)
    await recording.start()
    out, _ = await client.communicate()
    trace = await recording.stop()
    if client.returncode:
        raise SystemExit(f"the client ended with {client.returncode}: {out.decode()}")
    lines = [list(map(int, line.split())) for line in log.read_text().splitlines()]
    followed = [follow(trace, paths, fd, planned * 1_000, got * 1_000) for fd, planned, got in lines]
    return [one for one in followed if one is not None], trace, paths


def paths_of(client: int, roles: dict[int, str], connected: dict[Socket, Socket]) -> Paths:
    role = roles | {client: CLIENT}
    store = next(pid for pid, name in roles.items() if name == "redis")
    worker = {
        mine.descriptor: other
        for mine, other in connected.items()
        if mine.pid == client and role.get(other.pid) == WORKER
    }
    asker = {mine.descriptor: role.get(other.pid, OTHERS) for mine, other in connected.items() if mine.pid == store}
    ends = defaultdict(list)
    for mine, other in connected.items():
        if mine.pid == store and role.get(other.pid) == WORKER:
            ends[other.pid].append((other.descriptor, mine))
    # The first one that a worker opens is for calls.
    first = {pid: min(found) for pid, found in ends.items()}
    return Paths(
        client,
        store,
        worker,
        {pid: mine for pid, (_, mine) in first.items()},
        {pid: descriptor for pid, (descriptor, _) in first.items()},
        role,
        asker,
    )


def follow(trace: Trace, paths: Paths, descriptor: int, planned_ns: int, answered_ns: int) -> Followed | None:
    """None where it cannot be told: recording began later, or it made another call."""
    end = paths.worker.get(descriptor)
    if end is None:
        return None
    client, worker, store = trace.of[paths.client], trace.of[end.pid], trace.of[paths.store]
    link, store_fd = paths.link[end.pid], paths.store_end[end.pid].descriptor
    at, stages = planned_ns, []
    for who, pid, transfers, is_end in (
        (CLIENT, paths.client, client.writes[descriptor], True),
        (WORKER, end.pid, worker.reads[end.descriptor], True),
        (WORKER, end.pid, worker.writes[link], True),
        (STORE, paths.store, store.reads[store_fd], True),
        (STORE, paths.store, store.writes[store_fd], True),
        (WORKER, end.pid, worker.reads[link], True),
        (WORKER, end.pid, worker.writes[end.descriptor], False),
    ):
        found = next_after(transfers, at, is_end=is_end)
        if found is None:
            return None
        at = found
        stages.append((who, pid, at))
    if at > answered_ns:
        return None
    return Followed(planned_ns, answered_ns, [*stages, (CLIENT, paths.client, answered_ns)])


def next_after(transfers: list[SystemCall], at_ns: int, *, is_end: bool) -> int | None:
    place = bisect_left(transfers, (at_ns,))
    if place == len(transfers):
        return None
    return transfers[place].end_ns if is_end else transfers[place].begin_ns


def spent(trace: Trace, paths: Paths, request: Followed) -> Counter[str]:
    """Nanoseconds of a request, by who had it and what that one did."""
    found: Counter[str] = Counter()
    at = request.planned_ns
    for who, pid, until in request.stages:
        of = trace.of[pid]
        for begin, end, what, cpu in of.between(at, until):
            if what == WAITS:
                for runner, took in trace.runners(cpu, begin, end):
                    found[f"{who} waits for a CPU, which runs: {paths.role.get(runner, OTHERS)}"] += took
            elif who == STORE and what == RUNS:
                _store_runs(of.read_from, paths, begin, end, found)
            else:
                found[f"{who} {what}"] += end - begin
        at = until
    return found


def _store_runs(read_from: list[tuple[int, int]], paths: Paths, begin: int, end: int, found: Counter[str]) -> None:
    """Split by whom it runs for."""
    place = bisect_left(read_from, (begin, 0)) - 1
    at = begin
    while at < end:
        until = min(end, read_from[place + 1][0]) if place + 1 < len(read_from) else end
        if until > at:
            asker = paths.asker.get(read_from[place][1], OTHERS) if place >= 0 else OTHERS
            found[f"{STORE} {RUNS} for: {asker}"] += until - at
            at = until
        place += 1


def show(console: Console, requests: list[Followed], trace: Trace, paths: Paths, slowest: float) -> None:
    requests = sorted(requests, key=lambda one: one.answered_ns - one.planned_ns)
    if not requests:
        raise SystemExit("no request could be followed")
    worst = requests[-max(1, int(len(requests) * slowest / 100)) :]
    sums = []
    for some in (requests, worst):
        total: Counter[str] = Counter()
        for one in some:
            total += spent(trace, paths, one)
        sums.append({key: took / len(some) / 1e6 for key, took in total.items()})
    table = Table(title=f"where {len(requests):,} requests spent their time, ms each")
    for name in ("", "all", f"slowest {slowest:g} %"):
        table.add_column(name, justify="right" if name else "left")
    for key, _ in sorted(sums[1].items(), key=lambda item: -item[1]):
        if max(sums[0].get(key, 0), sums[1][key]) >= 0.005:
            table.add_row(key, f"{sums[0].get(key, 0.0):.3f}", f"{sums[1][key]:.3f}")
    table.add_row("together", f"{sum(sums[0].values()):.3f}", f"{sum(sums[1].values()):.3f}")
    console.print(table)
    for percent in (50, 90, 99, 99.9):
        one = requests[min(len(requests) - 1, int(len(requests) * percent / 100))]
        console.print(f"p{percent:g}: {(one.answered_ns - one.planned_ns) / 1e6:.2f} ms", highlight=False)
    console.print(_busy(trace, paths, (requests[0].planned_ns, max(one.answered_ns for one in requests))))


def _busy(trace: Trace, paths: Paths, during: tuple[int, int]) -> Table:
    """What each process took, and how long it kept a CPU from the others."""
    seconds = (during[1] - during[0]) / 1e9
    table = Table(title="processes")
    for name in ("", "of a core", "wake-ups/s", "longest in one go, ms"):
        table.add_column(name, justify="right" if name else "left")
    for pid, of in sorted(trace.of.items(), key=lambda item: (paths.role[item[0]], item[0])):
        goes = sorted(of.goes(*during), reverse=True)
        if sum(goes) / seconds / 1e9 >= 0.001:
            longest = ", ".join(f"{ns / 1e6:.1f}" for ns in goes[:5])
            share = f"{sum(goes) / seconds / 1e9:.3f}"
            table.add_row(f"{paths.role[pid]} {pid}", share, f"{len(goes) / seconds:.0f}", longest)
    return table


if __name__ == "__main__":
    main()
