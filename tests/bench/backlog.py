"""How fast the copy to PostgreSQL is when it is all there is to do: the keeper stands still while records gather, then
goes on, and nobody asks anything until all are copied."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncpg

from balances.ledger.reader import StreamReader
from balances.redis.clients import slow_client
from balances.redis.primaries import plain
from loadtest.api import Api
from loadtest.provision import Provision
from loadtest.scenario import load
from ocs.processes.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.bench import driver, processes
from tests.bench.server import BenchServer, running

SUBSCRIBERS: Final = 20_000
"""Half of them have a session at a time, and take turns: of the records of one step few are of one account, the dearest
case for the heads."""
MEMORY_BYTES: Final = 8 << 30
"""For the records that wait, 2 KB each."""
AT_ONCE: Final = 200_000
"""Requests of one run of the client, which has a limit of time."""
GATHER_S: Final = 80
LOOK_S: Final = 0.1
WITHIN_S: Final = 600.0


class CopyProgress:
    """How many records there are, in the live store and in PostgreSQL."""

    def __init__(self, reader: StreamReader, pg: Any) -> None:
        self._reader, self._pg = reader, pg

    async def appended(self) -> int:
        return (await self._reader.pulse()).appended or 0

    async def copied(self) -> int:
        return int(await self._pg.fetchval("SELECT sum(position) FROM shards"))

    async def reached(self, copied: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while await self.copied() < copied:
                await asyncio.sleep(LOOK_S)

    async def all_copied(self) -> int:
        """Wait until nothing more is copied; returns how many are."""
        async with asyncio.timeout(WITHIN_S):
            before = -1
            while (now := await self.copied()) != before:
                before = now
                await asyncio.sleep(2.0)
        return now


async def measure(records: int) -> dict[str, float]:
    """Records a second, and microseconds of CPU per record by role."""
    if driver.compiler() is None:
        raise SystemExit("there is no C compiler here")
    async with running("durability=everysec", "ledger.nice=0", f"redis.memory_bytes_max={MEMORY_BYTES}") as server:
        async with Api(server.url, server.token) as api:
            await Provision(api, load("data", subscribers=SUBSCRIBERS)).run()
        redis = slow_client(EmbeddedValkey(server.data).address)
        pg = await asyncpg.connect(EmbeddedPostgres(server.data).address)
        try:
            return await _drained(server, CopyProgress(StreamReader(plain(redis)), pg), records)
        finally:
            await pg.close()
            await redis.aclose()


async def _drained(server: BenchServer, progress: CopyProgress, records: int) -> dict[str, float]:
    begun, already = await progress.all_copied(), await progress.appended()
    keeper = processes.children(server.pid, "ocs.processes.entry")[0]
    os.kill(keeper, signal.SIGSTOP)
    try:
        while (waiting := await progress.appended() - already) < records:
            await _ask(server, min(records - waiting, AT_ONCE))
        started_s, before = time.monotonic(), _cpu_s(server, keeper)
    finally:
        os.kill(keeper, signal.SIGCONT)
    await progress.reached(begun + waiting)
    wall_s, after = time.monotonic() - started_s, _cpu_s(server, keeper)
    found: dict[str, float] = {"records": waiting, "records/s": round(waiting / wall_s)}
    found |= {f"{role} us": round((after[role] - before[role]) / waiting * 1e6, 1) for role in before}
    status = Path(f"/proc/{keeper}/status").read_text()
    return found | {"keeper MB at most": round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)}


async def _ask(server: BenchServer, requests: int) -> None:
    """Sessions of four requests."""
    with tempfile.TemporaryDirectory(prefix="ocs-rocc-") as home:
        program = driver.build(Path(home))
        options = driver.arguments(server.diameter_port, SUBSCRIBERS, GATHER_S, 64, 0)
        await driver.run(program, [*options, "-s", str(SUBSCRIBERS // 2), "-m", str(requests)])


def _cpu_s(server: BenchServer, keeper: int) -> dict[str, float]:
    found = processes.cpu_s(server.pid)
    return {
        "keeper": processes.own_cpu_s(keeper),
        "postgres": found["postgres"],
        "redis": found["redis"],
    }
