"""kill -9 of the API, the keeper and the live store while money is transferred between accounts and accounts are
merged: every transfer ends once, on one side; what was answered is so; nothing stays in transit (charging.md section
17).

The witness is a client that repeats what was not answered under its key, as the documents say, and adds up by itself.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from loadtest.api import Api, ApiError
from tests.bench.server import BenchServer, running
from tests.drills.test_kill import children, kill, until_ready, verify

pytestmark = pytest.mark.serial

ACCOUNTS = tuple(f"purse{number}" for number in range(6))
OPENED_WITH = 100
MERGES = 5


def micro(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * 1_000_000 + int(fraction.ljust(6, "0"))


async def until_answered(api: Api, path: tuple[str, ...], body: dict[str, object], key: str) -> int:
    """Repeat under the same key until there is an answer that says what became of it."""
    async with asyncio.timeout(180):
        while True:
            try:
                status = (await api.call("POST", path, body=body, headers={"Idempotency-Key": key})).status
            except (ApiError, OSError):
                status = 0
            if status not in (0, 202, 503, 504):
                return status
            await asyncio.sleep(0.2)


async def states(api: Api) -> set[str]:
    pages = [await api.get("v1", "accounts", one, "transfers") for one in ACCOUNTS]
    return {row["state"] for page in pages for row in page["items"]}


async def kills(server: BenchServer) -> None:
    """The live store, and API, keeper and worker as they come, each while the one before is still coming back."""
    random = Random(4)
    for number in range(9):
        await asyncio.sleep(random.uniform(0.3, 1.5))
        stores = children(server, "valkey-server") or children(server, "redis-server")
        found = stores if number % 3 == 2 else children(server, "ocs.processes.entry")
        for pid in found[:2]:
            kill(pid)


async def test_transfers_survive_whatever_is_killed() -> None:
    async with running("workers=1") as server:
        await until_ready(server)
        async with Api(server.url, server.token) as api:
            for account in ACCOUNTS:
                await api.put("v1", "accounts", account, body={"currency": "EUR"})
                top_up: dict[str, object] = {"amount": f"{OPENED_WITH}.00"}
                assert (
                    await until_answered(api, ("v1", "accounts", account, "topups"), top_up, f"fund-{account}") == 201
                )
            random, moved = Random(3), dict.fromkeys(ACCOUNTS, OPENED_WITH * 1_000_000)

            async def one(number: int) -> None:
                source, target = random.sample(ACCOUNTS, 2)
                amount = random.randint(1, 300)
                body: dict[str, object] = {"from": source, "to": target, "reason": "drill"}
                body["amount"] = f"{amount / 100:.2f}"
                await asyncio.sleep(number * 0.1)
                if await until_answered(api, ("v1", "transfers"), body, f"t{number}") == 201:
                    moved[source] -= amount * 10_000
                    moved[target] += amount * 10_000

            async def merge(number: int) -> None:
                """What has both kinds of money goes into an account that has one unit; no answer means anything."""
                await asyncio.sleep(number * 1.5)
                body: dict[str, object] = {"into": f"new{number}", "reason": "drill"}
                await until_answered(api, ("v1", "accounts", f"old{number}", "merge"), body, f"m{number}")

            for number in range(MERGES):
                for account, amount, bonus in (("old", "7.00", False), ("old", "5.00", True), ("new", "1.00", False)):
                    name = f"{account}{number}"
                    await api.put("v1", "accounts", name, body={"currency": "EUR"})
                    gift: dict[str, object] = {"amount": amount, "bonus": bonus}
                    key = f"fund-{name}-{bonus}"
                    assert await until_answered(api, ("v1", "accounts", name, "topups"), gift, key) == 201
            merges = [merge(number) for number in range(MERGES)]
            await asyncio.gather(kills(server), *(one(number) for number in range(60)), *merges)
            await until_ready(server)
            for number in range(MERGES):
                old, new = [await api.get("v1", "accounts", f"{one}{number}") for one in ("old", "new")]
                assert (old["balance"], old["state"], new["balance"]) == ("0.00", "closed", "13.00")
                (merged,) = (await api.get("v1", "accounts", f"new{number}", "transfers"))["items"]
                assert (merged["state"], merged["from"]) == ("received", f"old{number}")
            found = {one: (await api.get("v1", "accounts", one))["balance"] for one in ACCOUNTS}
            assert {account: micro(balance) for account, balance in found.items()} == moved
            async with asyncio.timeout(30):  # the last second legs are copied
                while await states(api) != {"received"}:
                    await asyncio.sleep(0.2)
        await verify(server)
