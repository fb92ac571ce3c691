"""A rolling restart under load: every process is another one afterwards, nobody had to ask twice, and what the
configuration says now is in effect; one that cannot be taken over changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from balances.redis.pending import ended
from loadtest.api import Api
from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from protocol.radius.dictionary.values import AcctStatusType
from tests.bench.server import BenchServer, free_ports, running
from tests.drills.nas import NasPort
from tests.drills.test_kill import RATE, children, witnessed
from tests.drills.test_radius import TARIFF, provided, settings
from tests.drills.test_told import START, World
from tests.ocs.net.world import OctetPeer
from tests.servers import LivePostgres, LiveValkey

pytestmark = pytest.mark.serial

DONE_S = 240.0


async def restarted(api: Api) -> list[dict[str, Any]]:
    """The hosts, once none of them is to restart any more."""
    async with asyncio.timeout(DONE_S):
        while True:
            hosts: list[dict[str, Any]] = (await api.get("v1", "status"))["hosts"]
            if all(not host["restart"] and host["restart_said"] for host in hosts):
                return hosts
            await asyncio.sleep(0.2)


async def interims(user: str, port: int, over: asyncio.Event) -> int:
    """Interim-Updates, one after the other; returns how often one had to be sent again."""
    nas = await NasPort.open(user, port)
    octets = seconds = 0
    await nas.account(port, AcctStatusType.START, user, 0, 0)
    while not over.is_set():
        octets, seconds = octets + 2_000, seconds + 60
        await nas.account(port, AcctStatusType.INTERIM_UPDATE, user, seconds, octets)
        await asyncio.sleep(0.03)
    await nas.account(port, AcctStatusType.STOP, user, seconds + 1, octets)
    nas.close()
    return nas.repeats


def processes(server: BenchServer) -> list[int]:
    return children(server, "ocs.processes.entry")


async def test_nobody_has_to_ask_twice_while_all_processes_are_replaced() -> None:
    auth, acct = free_ports(2)
    async with (
        running(*settings(auth, acct), "diameter.drain_s=10") as server,
        Api(server.url, server.token) as api,
        witnessed(server) as load_run,
    ):
        await api.put("v1", "tariffs", "told", body=TARIFF)
        users = [f"49170{number:07}" for number in range(6)]
        await provided(api, "nas", "50.00", *users)
        before, over = processes(server), asyncio.Event()
        nas = [asyncio.ensure_future(interims(user, acct, over)) for user in users]
        load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", DONE_S))
        await asyncio.sleep(1.0)
        asked = await api.post("v1", "restarts", body={})
        (host,) = await restarted(api)
        await ended((load_on,))
        over.set()
        repeats = await asyncio.gather(*nas)
        after = processes(server)
        assert asked["hosts"] == [host["name"]]
        assert host["restart_said"].startswith("4 processes restarted; the configuration was not read anew")
        assert len(after) == len(before) == 4
        assert not {*after} & {*before}
        counts = load_run.client.counts
        assert counts.ended_connections > 0, "peers were told (DPR)"
        assert (counts.resent, counts.surplus, sum(repeats)) == (0, 0, 0)
        load_run.turn_page()
        assert {result for _, result in load_run.total.results} == {2001}, load_run.total.results


GW = "gw.example.net"
CONFIGURED = "[charging]\nvalidity_s = {}\nvalidity_jitter = 0.0\n"
REFUSED = [
    (CONFIGURED.format(0), "charging.validity_s"),
    ('[host]\nname = "b"\n', "a rolling restart cannot change host.name (off before, now b)"),
]


async def validity_s(world: World, gateway: OctetPeer, session: str) -> int | None:
    """Validity-Time of a grant."""
    gateway.send(world.ccr(GW, session, "4915000001", START, 0, asked=1))
    answer = await gateway.message(30)
    assert isinstance(answer, CreditControlAnswer)
    [line] = answer.multiple_services_credit_control
    return line.validity_time


async def test_the_supervisor_goes_on_by_the_configuration_that_is_there_now(
    redis_url: str, pg_dsn_bare: str, valkey: LiveValkey, postgres: LivePostgres, tmp_path: Path
) -> None:
    """Its stores are of nobody's process: a supervisor that embeds its own stays."""
    file = tmp_path / "ocs.toml"
    file.write_text(CONFIGURED.format(700))
    auth, acct = free_ports(2)
    stores = (f"redis.url={redis_url}", f"postgres.dsn={pg_dsn_bare}")
    async with (
        running(*settings(auth, acct), *stores, "durability=everysec", "diameter.drain_s=10", config=file) as server,
        Api(server.url, server.token) as api,
        witnessed(server) as load_run,
    ):
        await api.put("v1", "tariffs", "told", body=TARIFF)
        users = [f"49170{number:07}" for number in range(4)]
        await provided(api, "nas", "50.00", *users)
        world = World(api, server.diameter_port)
        await world.account("acc", "50.00", "4915000001")
        gateway = await world.gateway(GW)
        assert await validity_s(world, gateway, "before") == 700
        await gateway.gone()
        before, over = processes(server), asyncio.Event()
        nas = [asyncio.ensure_future(interims(user, acct, over)) for user in users]
        load_on = asyncio.ensure_future(load_run.pace(RATE, "poisson", 2 * DONE_S))

        for text, why in REFUSED:
            file.write_text(text)
            await api.post("v1", "restarts", body={})
            (host,) = await restarted(api)
            assert host["restart_said"].startswith("refused: "), host
            assert why in host["restart_said"]
            assert processes(server) == before
        served = await server.gauge("ocs_requests_total")

        file.write_text(CONFIGURED.format(800))
        await api.post("v1", "restarts", body={})
        (host,) = await restarted(api)
        await ended((load_on,))
        over.set()
        repeats = await asyncio.gather(*nas)
        assert host["restart_said"] == "supervisor and 4 processes restarted"
        after = processes(server)
        assert len(after) == len(before) == 4
        assert not {*after} & {*before}
        gateway = await world.gateway(GW)
        assert await validity_s(world, gateway, "after") == 800
        await gateway.gone()
        assert await server.gauge("ocs_requests_total") >= served, "counters outlive the supervisor"
        counts = load_run.client.counts
        assert (counts.resent, counts.surplus, sum(repeats)) == (0, 0, 0)
        load_run.turn_page()
        assert {result for _, result in load_run.total.results} == {2001}, load_run.total.results
