"""Hosts with different roles on one store: sessions go on at another host, the network is told wherever it is
connected, keepers take over from one another, and every host sees all of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protocol.diameter.dictionary.credit_control import ReAuthRequest
from tests.drills.hosts import DrillHost, started, status_of, stores_of
from tests.drills.test_told import START, STOP, TARIFF, UPDATE, World, raa
from tests.ocs.net.world import OctetPeer
from tests.servers import LivePostgres, LiveValkey, Servers

pytestmark = pytest.mark.serial

SOON_S = 60.0
GW = "gw.example.net"


@pytest.fixture
def stores(redis_url: str, pg_dsn_bare: str, valkey: LiveValkey, postgres: LivePostgres) -> tuple[str, str]:
    return stores_of(Servers(redis_url, pg_dsn_bare, valkey, postgres))


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await condition():
            await asyncio.sleep(0.2)


async def ocs(host: DrillHost, *words: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ocs", *words, "--url", host.url, "--data", str(host.home / "data")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()
    return said.decode()


async def test_hosts_of_different_roles_serve_one_store(stores: tuple[str, str]) -> None:
    a = DrillHost("a", stores, "host.name=a")
    b = DrillHost("b", stores, "host.name=b", 'host.roles=["worker","api"]')
    c = DrillHost("c", stores, "host.name=c", 'host.roles=["keeper"]')
    async with started(a, b, c), b.api() as api:
        w = World(api, a.diameter)
        await api.put("v1", "tariffs", "told", body=TARIFF)
        await w.account("acc", "1.00", "4915000001")
        at_a = await w.gateway(GW)
        assert await w.ask(at_a, GW, "s", "4915000001", START, 0, asked=100) == 100

        # It reconnects to another host, in mid-session.
        await at_a.gone()
        at_b = await (await OctetPeer.connect(b.diameter)).open(GW)
        assert await w.ask(at_b, GW, "s", "4915000001", UPDATE, 1, asked=100, used=40) == 100

        async def b_has_the_peer() -> bool:
            hosts = await status_of(api)
            return GW in hosts["b"]["peers"] and GW not in hosts["a"]["peers"]

        async def all_say_that_they_are_ready() -> bool:
            """A host says it each few seconds: one that has just begun to serve still says that it does not."""
            return {host["state"] for host in (await status_of(api)).values()} == {"ready"}

        await until(b_has_the_peer)
        await until(all_say_that_they_are_ready)
        hosts: dict[str, Any] = {host["name"]: host for host in json.loads(await ocs(b, "status", "--json"))["hosts"]}
        assert {name: host["roles"] for name, host in hosts.items()} == {
            "a": ["worker", "api", "keeper"],
            "b": ["worker", "api"],
            "c": ["keeper"],
        }
        assert {host["state"] for host in hosts.values()} == {"ready"}
        assert hosts["a"]["http"] == a.url
        assert (hosts["c"]["http"], hosts["c"]["peers"]) == ("", [])

        # Whichever keeper finds that it is to be told: the worker that has the connection is at b.
        await api.put("v1", "accounts", "acc", body={"currency": "EUR", "state": "suspended"}, match="*")
        told = await at_b.message(SOON_S)
        assert isinstance(told, ReAuthRequest), told
        at_b.send(raa(told, GW, 2001))
        await api.put("v1", "accounts", "acc", body={"currency": "EUR", "state": "active"}, match="*")

        # The machine of a is gone, and with it the keeper that held the leases.
        await a.kill()
        assert await w.ask(at_b, GW, "s", "4915000001", STOP, 2, used=60) in (0, -2001)

        async def a_is_lost() -> bool:
            return bool((await status_of(api))["a"]["state"] == "lost")

        async def all_is_copied() -> bool:
            shards = (await api.get("v1", "status"))["shards"]
            return bool(shards["lag_entries"] == 0)

        await until(a_is_lost)
        await until(all_is_copied)
        proof = await api.post("v1", "ledger", "verify", body={})
        assert proof["sound"], proof
        assert (await api.get("v1", "accounts", "acc"))["balance"] == "0.90"
        assert "lost for" in await ocs(b, "status")

        # Who stops in good order is lost by nobody.
        assert await c.stop() == 0
        assert set(await status_of(api)) == {"a", "b"}
        await at_b.gone()
