"""Somebody moves to another account, on another shard, in the middle of a session: the old payer settles it and nobody
else, the network is told to end it, and the next session is the new payer's (charging.md section 19)."""

from __future__ import annotations

from typing import Any

import pytest

from balances.keys import shard_of
from loadtest.api import Api
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import ACCT_SESSION_ID, CLASS
from tests.drills.test_obeyed import GW, world
from tests.drills.test_radius_obeyed import INTERIM, START, STOP, drill
from tests.drills.test_told import START as INITIAL
from tests.drills.test_told import STOP as TERMINATION
from tests.drills.test_told import TARIFF, UPDATE, rar

pytestmark = pytest.mark.serial

assert shard_of("a1") != shard_of("a2")


async def change(api: Api, subscriber: str, **changes: Any) -> None:
    known = await api.get("v1", "subscribers", subscriber)
    body = {name: known[name] for name in ("account", "identities", "tariffs", "attributes", "payers")}
    await api.put("v1", "subscribers", subscriber, body=body | changes, match="*")


async def balances(api: Api) -> list[tuple[str, str]]:
    found = [await api.get("v1", "accounts", name) for name in ("a1", "a2")]
    return [(one["balance"], one["held"]) for one in found]


@pytest.mark.parametrize("how", [{"account": "a2"}, {"payers": {"data": "a2"}}], ids=["account", "payer"])
async def test_a_session_of_diameter(how: dict[str, Any]) -> None:
    async with world() as w:
        await w.api.put("v1", "tariffs", "told", body=TARIFF)
        await w.account("a1", "1.00", "4911")
        await w.account("a2", "1.00")
        gw = await w.gateway(GW)
        assert await w.ask(gw, GW, "s1", "4911", INITIAL, 0, asked=100) == 100
        await change(w.api, "4911", **how)
        assert await rar(gw, GW, 2001, 60.0) == f"{GW};s1"
        assert await w.ask(gw, GW, "s1", "4911", UPDATE, 1, asked=100, used=100) == -4010
        assert await balances(w.api) == [("0.90", "0.00"), ("1.00", "0.00")]
        await w.ask(gw, GW, "s1", "4911", TERMINATION, 2, used=0)
        assert await w.ask(gw, GW, "s2", "4911", INITIAL, 0, asked=100) == 100
        await w.ask(gw, GW, "s2", "4911", TERMINATION, 1, used=50)
        assert await balances(w.api) == [("0.90", "0.00"), ("0.95", "0.00")]
        await gw.gone()


async def test_a_session_of_radius() -> None:
    async with drill(service='unit="octets"') as d:
        await d.api.put("v1", "accounts", "a2", body={"currency": "EUR"})
        await d.api.post("v1", "accounts", "a2", "topups", body={"amount": "1.00"}, key="begin-a2")
        await d.begins()
        await d.uses(100_000, 60)
        await change(d.api, "4911", payers={"data": "a2"})
        told = await d.bras.next(PacketCode.DISCONNECT_REQUEST)
        assert told.get(ACCT_SESSION_ID) == "s/1+="
        await d.port.account(d.acct, INTERIM, "s/1+=", 90, 150_000, **d.own)
        await d.port.account(d.acct, STOP, "s/1+=", 100, 200_000, **d.own)
        assert await balances(d.api) == [("0.80", "0.00"), ("1.00", "0.00")]
        reply = await d.port.login(d.auth)
        assert reply.code is PacketCode.ACCESS_ACCEPT
        own = {"Class": reply.get(CLASS)}
        await d.port.account(d.acct, START, "s/2", 0, 0, **own)
        await d.port.account(d.acct, STOP, "s/2", 60, 100_000, **own)
        assert await balances(d.api) == [("0.80", "0.00"), ("0.90", "0.00")]
