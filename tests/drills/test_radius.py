"""RADIUS under kill -9, durability `always`: no acknowledged use is lost, none is charged twice, nothing stays held.
And one subscriber on Gy and PPPoE at once: neither is granted what the other holds."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from loadtest.api import Api
from protocol.diameter.dictionary.credit_control import CcRequestType
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import CLASS, SESSION_TIMEOUT
from protocol.radius.dictionary.values import AcctStatusType
from tests.bench.server import BenchServer, free_ports, running
from tests.drills.nas import NasPort
from tests.drills.test_kill import a_worker, postgres, redis, until_ready, verify
from tests.drills.test_told import World

pytestmark = pytest.mark.serial

SUBSCRIBERS = 30
BLOCK = 1_000
"""Octets for a thousandth."""
TARIFF: dict[str, Any] = {
    "tariff": "told",
    "currency": "EUR",
    "rows": [
        {"name": "data", "when": {"service": "data"}, "flat": {"price": "0.001", "per": f"{BLOCK} octets"}},
        {"name": "time", "when": {"service": "line"}, "flat": {"price": "0.01", "per": "1 min"}},
    ],
}
START, INTERIM, STOP = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP
CLIENT = 'radius.clients=[{address="127.0.0.0/8", secret="testing123", group="bras", interim_s=60, service="SERVICE"}]'


LINE = ('charging.services.line={contexts=["line@example.net"],unit="seconds"}',)
"""PPPoE by time: a row of its own, for `voice` is calls."""


def settings(auth: int, acct: int, service: str = "data") -> tuple[str, ...]:
    listens = (f"radius.auth_listen=127.0.0.1:{auth}", f"radius.acct_listen=127.0.0.1:{acct}")
    return (*listens, CLIENT.replace("SERVICE", service), "durability=always", "workers=2")


async def provided(api: Api, name: str, money: str, *users: str) -> None:
    await api.put("v1", "accounts", name, body={"currency": "EUR"})
    for user in users:
        body = {
            "account": name,
            "identities": [f"username:{user}", f"msisdn:{user}"],
            "tariffs": [{"tariff": "told"}],
            "password": "demo",
        }
        await api.put("v1", "subscribers", user, body=body)
    await api.post("v1", "accounts", name, "topups", body={"amount": money}, key=f"begin-{name}")


async def subscriber(user: str, auth: int, acct: int, over: asyncio.Event, seed: int) -> tuple[int, int]:
    """One session after the other until it is over: started thousands of octets in all, and packets sent again."""
    dice, port, blocks = Random(seed), await NasPort.open(user, auth, acct), 0
    number = 0
    while not over.is_set():
        number += 1
        own: dict[str, Any] = {}
        if seed % 5:  # the others are authenticated elsewhere
            reply = await port.login(auth)
            assert reply.code is PacketCode.ACCESS_ACCEPT, reply
            own["Class"] = reply.get(CLASS)
        session, octets, lasted_s = f"{user}-{number}", 0, 0
        if dice.random() < 0.9:  # some Starts get lost
            await port.account(acct, START, session, 0, 0, **own)
        for _ in range(dice.randint(1, 12)):
            await asyncio.sleep(dice.uniform(0.02, 0.3))
            octets, lasted_s = octets + dice.randint(0, 9 * BLOCK), lasted_s + 60
            await port.account(acct, INTERIM, session, lasted_s, octets, **own)
        octets += dice.randint(0, BLOCK)
        await port.account(acct, STOP, session, lasted_s + 1, octets, **own)
        blocks += -(-octets // BLOCK)
    port.close()
    return blocks, port.repeats


async def disaster(server: BenchServer) -> None:
    for one in (a_worker, redis, postgres, a_worker):
        await one(server)
        await asyncio.sleep(1.5)


async def test_no_acknowledged_use_is_lost_and_none_is_charged_twice() -> None:
    auth, acct = free_ports(2)
    users = [f"49{number:08}" for number in range(SUBSCRIBERS)]
    async with running(*settings(auth, acct)) as server, Api(server.url, server.token) as api:
        await api.put("v1", "tariffs", "told", body=TARIFF)
        for user in users:
            await provided(api, f"a{user}", "100.00", user)
        over = asyncio.Event()
        playing = [asyncio.ensure_future(subscriber(user, auth, acct, over, seed)) for seed, user in enumerate(users)]
        await asyncio.sleep(2.0)
        await disaster(server)
        await until_ready(server)
        await asyncio.sleep(1.0)
        over.set()
        played = await asyncio.gather(*playing)
        await until_ready(server)
        for user, (blocks, _) in zip(users, played, strict=True):
            account = await api.get("v1", "accounts", f"a{user}")
            paid = f"{100_000 - blocks:06}"
            assert (account["balance"], account["held"]) == (_decimal(f"{paid[:-3]}.{paid[-3:]}"), "0.00"), user
        assert sum(blocks for blocks, _ in played) > 100
        assert sum(repeats for _, repeats in played) > 0, "nothing was disturbed"
        await verify(server)


def _decimal(text: str) -> str:
    """As the API writes it: no zeros in front, two places at least."""
    whole, _, part = text.partition(".")
    return f"{int(whole)}.{part.rstrip('0').ljust(2, '0')}"


async def test_one_account_on_gy_and_pppoe_at_once() -> None:
    """charging.md section 5: what one holds the other cannot have; what it gives back it can."""
    auth, acct = free_ports(2)
    quota = "charging.quota.octets.minimum=1000"
    async with running(*settings(auth, acct, "line"), *LINE, quota) as server, Api(server.url, server.token) as api:
        await api.put("v1", "tariffs", "told", body=TARIFF)
        await provided(api, "a1", "1.00", "4911", "4912")
        gy, port = World(api, server.diameter_port), await NasPort.open("4911", auth, acct)
        gw, who = await gy.gateway("gw1.example.net"), ("gw1.example.net", "1", "4911")
        # A unit of Gy (100,000 octets) is 0.10, a minute of PPPoE 0.01: there are 10 of the one or 100 of the other.
        assert await gy.ask(gw, *who, CcRequestType.INITIAL_REQUEST, 0, asked=6) == 6
        first = await port.login(auth)
        assert (first.code, first.get(SESSION_TIMEOUT)) == (PacketCode.ACCESS_ACCEPT, 40 * 60)
        own = {"Class": first.get(CLASS)}
        await port.account(acct, START, "s1", 0, 0, **own)
        assert (await api.get("v1", "accounts", "a1"))["held"] == "0.62"  # and two periods of a minute
        # What is less than its least grant it takes too: 0.38, and 0.02 are held.
        assert await gy.ask(gw, *who, CcRequestType.UPDATE_REQUEST, 1, asked=10, used=6) == 3
        assert (await port.login(auth)).get(SESSION_TIMEOUT) == 2 * 60
        await port.account(acct, INTERIM, "s1", 60, 0, **own)
        account = await api.get("v1", "accounts", "a1")
        assert (account["balance"], account["held"]) == ("0.39", "0.39")  # of which a minute is left
        assert (await port.login(auth)).get(SESSION_TIMEOUT) == 60
        other = await NasPort.open("4912", auth)
        assert (await other.login(auth)).code is PacketCode.ACCESS_REJECT
        assert await gy.ask(gw, *who, CcRequestType.TERMINATION_REQUEST, 2, used=1) == -2001
        assert (await port.login(auth)).get(SESSION_TIMEOUT) == 29 * 60
        await port.account(acct, STOP, "s1", 61, 0, **own)
        account = await api.get("v1", "accounts", "a1")
        assert (account["balance"], account["held"]) == ("0.28", "0.00")
        other.close()
        await verify(server)
        port.close()
        gw.end()
