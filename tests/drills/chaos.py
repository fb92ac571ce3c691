"""Two hosts with several roles on one store, under load, while chance kills, freezes and restarts what there is.

    make chaos                               # five minutes, a seed that it prints
    make chaos ARGS="--seed 7 --seconds 60"
    make chaos ARGS="--on cluster"            # three primaries with a replica each; or: --on sentinels

Everything that is chance comes from the seed: what happens, to whom, when, for how long (not what the machine makes of
it). At the end all is let go on, every session is ended, and it has to be as if nothing had happened: the simulator's
audit of every account holds, no number of an account's entries is there twice or missing, nothing is held, and the
proof of the ledger is sound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg

from balances.redis.pending import ended
from loadtest.api import Api, ApiError
from loadtest.audit import Audit
from loadtest.client import LoadClient
from loadtest.link import Target
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun
from loadtest.scenario import load
from ocs.processes.embedded import EmbeddedPostgres
from tests.drills.chaos_stores import FROZEN_S, STORES, Happening, children_of, family, frozen
from tests.drills.hosts import Balancer, DrillHost, started

RATE: Final = 80
SUBSCRIBERS: Final = 80
SETTLED_S: Final = 120.0
"""For what was killed and frozen to be back, at the end."""
BETWEEN_S: Final = (0.3, 2.5)
FORESEEN: Final = re.compile(r"Traceback|keeper\.(failed|alarm)\b|invariant|internal", re.IGNORECASE)
"""Lines of the log that are told at the end: nothing here is a reason for one."""


class Chaos:
    """The hosts and stores, and what can happen to them."""

    def __init__(self, home: Path, seed: int, say: Callable[[str], object], on: str) -> None:
        self.chance = Random(seed)
        self.say = say
        self.store = STORES[on](home / "store", self.chance)
        # No power is cut here, so nothing needs to be on the disk; what is committed has to outlive kill -9 all the
        # same, so synchronous_commit stays on.
        self.postgres = EmbeddedPostgres(home / "postgres", settings={"fsync": "off", "autovacuum": "off"})
        self.hosts: list[DrillHost] = []
        self.done: list[str] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            stores = (
                f"redis.url={await asyncio.to_thread(self.store.start)}",
                f"postgres.dsn={await asyncio.to_thread(self.postgres.start)}",
            )
            everywhere = (f"durability={self.store.durability}", "log.format=json", *self.store.settings)
            self.hosts = [
                DrillHost("a", stores, "host.name=a", "workers=2", *everywhere),
                DrillHost("b", stores, "host.name=b", 'host.roles=["worker","keeper"]', *everywhere),
            ]
            async with started(*self.hosts):
                yield
        finally:
            for server in (self.store, self.postgres):
                await asyncio.to_thread(server.stop)

    # ---- what can happen

    async def happen(self, seconds: float) -> None:
        """One thing after the other, some before the one before is over."""
        kinds: Sequence[tuple[Happening, int]] = (
            (self._kill_a_process, 5),
            (self._freeze_a_process, 4),
            (self._kill_a_host, 2),
            (self._restart_postgres, 2),
            (self._kill_postgres, 2),
            (self._freeze_postgres, 2),
            (self._rolling_restart, 2),
            *self.store.kinds(),
        )
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(self.chance.uniform(*BETWEEN_S))
            ((kind, _),) = self.chance.choices(kinds, [weight for _, weight in kinds])
            told = await kind()
            self.done.append(told)
            self.say(told)

    def _host(self) -> DrillHost:
        return self.chance.choice(self.hosts)

    def _process(self) -> tuple[str, int] | None:
        """Of any host: its name and pid."""
        host = self._host()
        assert host.process is not None
        children = children_of(host.process.pid)
        return (host.name, self.chance.choice(children)) if children else None

    async def _kill_a_process(self) -> str:
        if (one := self._process()) is None:
            return "nothing: a host without processes"
        with contextlib.suppress(ProcessLookupError):
            os.kill(one[1], signal.SIGKILL)
        return f"a process of {one[0]} was killed"

    async def _freeze_a_process(self) -> str:
        if (one := self._process()) is None:
            return "nothing: a host without processes"
        seconds = self.chance.uniform(*FROZEN_S)
        await frozen(seconds, one[1])
        return f"a process of {one[0]} was frozen for {seconds:.1f} s"

    async def _kill_a_host(self) -> str:
        host = self._host()
        await host.kill()
        await asyncio.sleep(self.chance.uniform(0.2, 1.5))
        await host.start()
        return f"host {host.name} was killed and started"

    async def _restart_postgres(self) -> str:
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(self.chance.uniform(0.0, 1.5))
        await asyncio.to_thread(self.postgres.start)
        return "PostgreSQL was restarted"

    async def _kill_postgres(self) -> str:
        await asyncio.to_thread(self.postgres.kill)
        await asyncio.to_thread(self.postgres.start)
        return "PostgreSQL was killed and started"

    async def _freeze_postgres(self) -> str:
        seconds = self.chance.uniform(*FROZEN_S)
        await frozen(seconds, *family(self.postgres))
        return f"PostgreSQL was frozen for {seconds:.1f} s"

    async def _rolling_restart(self) -> str:
        """It is asked for, and goes on beside what comes next."""
        host = self.hosts[0]
        try:
            async with asyncio.timeout(10.0), Api(host.url, host.token, connections=1) as api:
                asked = await api.post("v1", "restarts", body={})
        except (ApiError, OSError) as why:
            return f"a rolling restart was asked for, in vain: {type(why).__name__}"
        return f"a rolling restart was asked for, of {', '.join(asked['hosts'])}"

    # ---- what has to be so afterwards

    async def settle(self) -> None:
        await self.store.settle()
        for host in self.hosts:
            await host.ready()

    async def prove(self, api: Api) -> list[str]:
        """What is wrong with the books: nothing may be."""
        async with asyncio.timeout(SETTLED_S):
            while (status := await api.get("v1", "status"))["shards"] is None or status["shards"]["lag_entries"]:
                await asyncio.sleep(0.2)
        wrong = []
        if status["shards"]["stopped"] or status["shards"]["quarantined"]:
            wrong.append(f"copy: {status['shards']}")
        proof = await api.post("v1", "ledger", "verify", body={})
        if not proof["sound"]:
            wrong.append(f"the ledger is not sound: {proof}")
        exposure = await api.get("v1", "exposure")
        if any(one["sessions"] or float(one["money"]) for one in exposure["held"]) or not exposure["complete"]:
            wrong.append(f"held: {exposure}")
        pg = await asyncpg.connect(self.postgres.dsn)
        try:
            numbers = await pg.fetch(
                "SELECT account, count(*) AS entries, count(DISTINCT seq) AS numbers, max(seq) AS last"
                " FROM ledger_entries GROUP BY account HAVING count(*) <> max(seq) OR count(DISTINCT seq) <> max(seq)"
            )
        finally:
            await pg.close()
        wrong += [f"numbers of {row['account']}: {dict(row)}" for row in numbers]
        return wrong

    def remarks(self) -> list[str]:
        """Lines of the hosts' logs that a person should read: since the last start of each. A traceback whole."""
        found, in_one = list[str](), False
        for host in self.hosts:
            for line in host.log.splitlines():
                in_one = line.startswith("Traceback") or (in_one and not line.startswith("{"))
                if in_one or FORESEEN.search(line):
                    found.append(f"{host.name}: {line}")
        return found


async def run(seed: int, seconds: float, say: Callable[[str], object], on: str = "plain") -> list[str]:
    """Play for so long, and prove; what is wrong, nothing where all holds."""
    home = Path(tempfile.mkdtemp(prefix="ocs-chaos-"))
    chaos = Chaos(home, seed, say, on)
    try:
        async with chaos.running(), Balancer(chaos.hosts) as balancer:
            return await _played(chaos, balancer.port, seed, seconds)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _played(chaos: Chaos, port: int, seed: int, seconds: float) -> list[str]:
    scenario = load("mixed", subscribers=SUBSCRIBERS, rate=RATE, timeout_s=3.0)
    client = LoadClient(Target("127.0.0.1", port), connections=4, timeout_s=3.0, record=True)
    wrong: list[str] = []
    async with chaos.hosts[0].api() as api:
        await Provision(api, scenario).run()
        audit = Audit(api, [account_of(scenario, index) for index in range(SUBSCRIBERS)])
        await audit.before()
        await client.start()
        try:
            played = LoadRun(client, scenario, seed=seed)
            load_on = asyncio.ensure_future(played.pace(RATE, "poisson", seconds + SETTLED_S))
            try:
                await chaos.happen(seconds)
                await chaos.settle()
                await asyncio.sleep(1.0)  # some requests to all of it whole
            finally:
                await ended((load_on,))
            answered = len(client.answered or ())
            await played.finish(SETTLED_S)
            if client.unanswered:
                wrong.append(f"{len(client.unanswered)} requests were never answered")
            verdict = await audit.after(played.dues.micro, played.dues.left_open)
            if not verdict.holds or verdict.held:
                wrong.append(f"the audit: {verdict}")
            if not answered or not verdict.debited:
                wrong.append("nothing was charged, so nothing was tried")
            wrong += await chaos.prove(api)
        finally:
            await client.stop()
    chaos.say(f"{answered} answers, {client.counts.resent} sent again, {len(chaos.done)} things happened")
    for line in chaos.remarks():
        chaos.say(f"log of {line[:600]}")
    return wrong


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(100_000))
    parser.add_argument("--seconds", type=float, default=300.0, help="default: 300")
    parser.add_argument("--on", choices=STORES, default="plain", help="the live store; default: plain, one server")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}, {given.seconds:g} s, {given.on}", flush=True)
    wrong: list[Any] = asyncio.run(run(given.seed, given.seconds, lambda text: print(text, flush=True), given.on))
    for one in wrong:
        print(f"WRONG: {one}")
    print(f"seed {given.seed}: {'all holds' if not wrong else 'repeat it with this seed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
