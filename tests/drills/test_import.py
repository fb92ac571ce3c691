"""kill -9 of the whole server in the middle of an import: the same file again, and everything is there once."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtest.api import Api
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import children, postgres, redis, until_ready, verify

pytestmark = pytest.mark.serial

LINES = 12_000
BALANCE = "3.25"


def file_of(home: Path) -> Path:
    path = home / "subscribers.csv"
    rows = (f"k{at},EUR,{BALANCE},k{at},49172{at:07d}" for at in range(LINES))
    path.write_text("account,currency,balance,subscriber,msisdn\n" + "\n".join(rows) + "\n")
    return path


async def importing(server: BenchServer, file: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ocs", "import", str(file), "--json", "--url", server.url, "--data", str(server.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def until_some_are_in(server: BenchServer) -> None:
    async with Api(server.url, server.token) as api, asyncio.timeout(60):
        while await api.find("v1", "accounts", "k2500") is None:
            await asyncio.sleep(0.02)


async def finished(server: BenchServer, file: Path) -> None:
    """The same file again goes in, every account has its balance once, and the books say so."""
    for again in (True, False):
        child = await importing(server, file)
        said, _ = await asyncio.wait_for(child.communicate(), 240)
        assert child.returncode == 0, said.decode()
        assert again or b'"accounts_created": 0' in said, said.decode()
    await verify(server)
    async with Api(server.url, server.token) as api:
        for at in (0, 1_999, 2_000, LINES // 2, LINES - 1):
            account = await api.get("v1", "accounts", f"k{at}")
            assert (account["balance"], account["seq"]) == (BALANCE, 1)
            ledger = await api.get("v1", "accounts", f"k{at}", "ledger")
            assert [entry["why"] for entry in ledger["items"]] == ["opening"]
            found = await api.get("v1", "subscribers", identity=f"msisdn:49172{at:07d}")
            assert [one["id"] for one in found["items"]] == [f"k{at}"]


async def killed_in_the_middle(home: Path, file: Path) -> None:
    async with running("durability=always", data=home) as server:
        child = await importing(server, file)
        await until_some_are_in(server)
        for pid in (server.pid, *children(server)):
            os.kill(pid, signal.SIGKILL)
        said, _ = await child.communicate()
        assert child.returncode == 1, said.decode()
        assert b"import the same file again" in said
        await asyncio.sleep(0.5)  # until it is reaped here


async def test_the_server_is_killed() -> None:
    home = Path(tempfile.mkdtemp(prefix="ocs-drill-"))
    try:
        file = file_of(home)
        with pytest.raises(SystemExit, match="ended meanwhile"):
            await killed_in_the_middle(home, file)
        async with running("durability=always", data=home) as server:
            await finished(server, file)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("disaster", [redis, postgres])
async def test_a_store_is_killed(disaster: Callable[[BenchServer], Awaitable[None]]) -> None:
    async with running("durability=always") as server:
        file = file_of(server.data.parent)
        child = await importing(server, file)
        await until_some_are_in(server)
        await disaster(server)
        said, _ = await asyncio.wait_for(child.communicate(), 240)
        assert child.returncode in (0, 1), said.decode()
        await until_ready(server)
        await finished(server, file)
