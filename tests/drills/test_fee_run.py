"""kill -9 of the keeper and of the store in the middle of a due run: every account is charged once, and the books are
right (charging.md section 21)."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from loadtest.api import Api
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import redis, the_keeper, until_ready, verify

pytestmark = pytest.mark.serial

ACCOUNTS = 600
TARIFF = """
tariff = "monthly"
currency = "EUR"

[[fees]]
name = "base"
price = "9.99"
every = "30 d"

[[fees.includes]]
name = "data"
amount = "1 GB"
"""


async def provisioned(server: BenchServer, api: Api, accounts: int = ACCOUNTS) -> None:
    """Accounts with a subscriber each, all of them due, and a run that waits."""
    await api.post("v1", "fees", "pause", body=None)
    document = await api.call(
        "PUT", ("v1", "tariffs", "monthly"), body=TARIFF.encode(), headers={"Content-Type": "application/toml"}
    )
    assert document.status == 201, document
    path = server.data / "subscribers.csv"
    lines = (f"f{at},EUR,20.00,f{at},49173{at:07d},monthly" for at in range(accounts))
    path.write_text("account,currency,balance,subscriber,msisdn,tariffs\n" + "\n".join(lines) + "\n")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ocs", "import", str(path), "--json", "--url", server.url, "--data", str(server.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()
    assert (await status(api))["due"] == accounts


async def status(api: Api) -> Any:
    return await api.get("v1", "fees", "status")


async def until(api: Api, left: int) -> None:
    """No more than so many are to be charged: those that a keeper has claimed wait until it has looked at them."""
    async with asyncio.timeout(120):
        while True:
            found = await api.call("GET", ("v1", "fees", "status"))
            if found.status == 200 and found.body["due"] + found.body["waiting"] <= left:
                return
            await asyncio.sleep(0.1)


async def test_each_account_is_charged_once() -> None:
    async with running("durability=always", "fees.rate=300") as server:
        async with Api(server.url, server.token) as api:
            await provisioned(server, api)
            await api.post("v1", "fees", "resume", body=None)
            await until(api, ACCOUNTS - 100)
            await the_keeper(server)
            await until(api, ACCOUNTS - 300)
            await redis(server)
            await until(api, 0)
            await until_ready(server)
            for at in range(ACCOUNTS):
                account = await api.get("v1", "accounts", f"f{at}")
                assert account["balance"] == "10.01", account
                assert [one["amount"] for one in account["buckets"] if not one["main"]] == [str(2**30)]
        await verify(server)
