"""A due run of recurring fees over many accounts, and their import: `python -m tests.bench.fee_run [--accounts N]`.

Says accounts per second of both, and the memory of the keeper, which is killed once on the way; at the end `ocs ledger
verify` has to agree. With `--charging RATE` the load simulator charges before the run and beside it, and says how long
answers took: for that the machine has to be quiet, and `--rate` a pace that a run has in real life.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from loadtest.api import Api
from tests.bench import processes
from tests.bench.server import BenchServer, running

TARIFF = """
tariff = "monthly"
currency = "EUR"

[[fees]]
name = "base"
price = "9.99"
every = "30 d"
"""
LOOKED_S = 2.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fee_run", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=100_000, help="fees.rate: assignments a second at most")
    parser.add_argument("--charging", type=int, default=0, metavar="RATE", help="requests per second beside it")
    parser.add_argument("--seconds", type=int, default=30, help="of charging without the run")
    return parser.parse_args()


async def child(*words: str) -> str:
    """What a command of ours says; it has to succeed."""
    running_ = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await running_.communicate()
    if running_.returncode != 0:
        raise SystemExit(said.decode())
    return said.decode()


async def imported(server: BenchServer, accounts: int) -> float:
    """Seconds for accounts with a subscriber each, all of whom owe a fee."""
    path = server.data / "subscribers.csv"
    with path.open("w") as file:
        file.write("account,currency,balance,subscriber,msisdn,tariffs\n")
        for at in range(accounts):
            file.write(f"f{at},EUR,20.00,f{at},49173{at:08d},monthly\n")
    began_s = time.monotonic()
    await child("ocs", "import", str(path), "--json", "--url", server.url, "--data", str(server.data))
    return time.monotonic() - began_s


async def charged(server: BenchServer, rate: int, seconds: int, *, first: bool) -> str:
    """What the load simulator says of its requests."""
    words = ["data", "--diameter", f"127.0.0.1:{server.diameter_port}", "--http", server.url]
    words += ["--token-file", str(server.data / "admin.token"), "--rate", str(rate), "--duration", str(seconds)]
    words += ["--provision", "500", "--no-audit"] + ([] if first else ["--no-provision"])
    return await child("loadtest", *words)


async def run(server: BenchServer, api: Api, accounts: int) -> dict[str, Any]:
    """Let the run go, kill the keeper when a third is done, and wait for the end."""
    await api.post("v1", "fees", "resume", body=None)
    began_s, killed, most = time.monotonic(), False, 0.0
    while True:
        await asyncio.sleep(LOOKED_S)
        found = await api.call("GET", ("v1", "fees", "status"))
        if found.status != 200:
            continue
        left, spent_s = found.body["due"], time.monotonic() - began_s
        most = max(most, keeper_mb(server))
        print(
            f"  {accounts - left:>9,} of {accounts:,} after {spent_s:6.0f} s, keeper {most:.0f} MB at most", flush=True
        )
        if left == 0 and found.body["looked"] >= accounts:  # what a keeper has claimed is not due meanwhile
            return {"seconds": spent_s, "accounts/s": accounts / spent_s, "keeper MB at most": most}
        if not killed and left < accounts * 2 // 3:
            os.kill(keeper(server), signal.SIGKILL)
            killed = True


def keeper(server: BenchServer) -> int:
    """The child that is started first."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes.below(server.pid)}
    return min(pid for pid, line in lines.items() if b"ocs.processes.entry" in line)


def keeper_mb(server: BenchServer) -> float:
    status = Path(f"/proc/{keeper(server)}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def main() -> None:
    given = options()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    memory = max(1 << 30, given.accounts * 8_192)
    async with running("durability=everysec", f"fees.rate={given.rate}", f"redis.memory_bytes_max={memory}") as server:
        async with Api(server.url, server.token) as api:
            await api.post("v1", "fees", "pause", body=None)
            toml = {"Content-Type": "application/toml"}
            await api.call("PUT", ("v1", "tariffs", "monthly"), body=TARIFF.encode(), headers=toml)
            import_s = await imported(server, given.accounts)
            print(f"import: {given.accounts / import_s:,.0f} accounts/s", flush=True)
            beside = None
            if given.charging:
                print(await charged(server, given.charging, given.seconds, first=True), flush=True)
                beside = asyncio.ensure_future(charged(server, given.charging, given.seconds, first=False))
            found = await run(server, api, given.accounts)
            if beside is not None:
                print(await beside, flush=True)
            print(json.dumps({name: round(value, 1) for name, value in found.items()}), flush=True)
        print(await child("ocs", "ledger", "verify", "--url", server.url, "--data", str(server.data)))


if __name__ == "__main__":
    asyncio.run(main())
