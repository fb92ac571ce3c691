"""The network is told, and what it answers is read: the whole server, several workers, and gateways made of octets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from loadtest.api import Api
from protocol.diameter.dictionary.base import ReAuthAnswer
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    MultipleServicesCreditControl,
    ReAuthRequest,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
    UsedServiceUnit,
)
from tests.bench.server import running
from tests.ocs.net.world import OctetPeer

pytestmark = pytest.mark.serial

TARIFF: dict[str, Any] = {
    "tariff": "told",
    "currency": "EUR",
    "rows": [{"name": "data", "when": {"service": "data"}, "flat": {"price": "0.001", "per": "100000 octets"}}],
}
START = CcRequestType.INITIAL_REQUEST
UPDATE = CcRequestType.UPDATE_REQUEST
STOP = CcRequestType.TERMINATION_REQUEST
UNIT = 100_000
"""Octets for a thousandth: requests speak in these."""
RELAY = "dra.example.net"


class World:
    def __init__(self, api: Api, port: int) -> None:
        self.api, self.port = api, port
        self.end_to_end = 1_000

    async def account(self, name: str, amount: str, *subscribers: str) -> None:
        await self.api.put("v1", "accounts", name, body={"currency": "EUR"})
        for subscriber in subscribers:
            await self.subscriber(subscriber, name)
        await self.top_up(name, amount)

    async def subscriber(self, name: str, account: str, match: str | None = None, **more: Any) -> None:
        body = {"account": account, "identities": [f"msisdn:{name}"], "tariffs": [{"tariff": "told"}], **more}
        await self.api.put("v1", "subscribers", name, body=body, match=match)

    async def top_up(self, account: str, amount: str) -> None:
        self.end_to_end += 1
        await self.api.post("v1", "accounts", account, "topups", body={"amount": amount}, key=f"{self.end_to_end}")

    async def gateway(self, host: str) -> OctetPeer:
        return await (await OctetPeer.connect(self.port)).open(host)

    def ccr(self, host: str, session: str, of: str, kind: CcRequestType, number: int, **more: Any) -> bytes:
        self.end_to_end += 1
        asked, used = more.pop("asked", None), more.pop("used", None)
        line = MultipleServicesCreditControl(
            rating_group=10,
            requested_service_unit=None if asked is None else RequestedServiceUnit(cc_total_octets=asked * UNIT),
            used_service_unit=() if used is None else (UsedServiceUnit(cc_total_octets=used * UNIT),),
        )
        message = CreditControlRequest(
            session_id=f"{host};{session}",
            origin_host=host,
            origin_realm="example.net",
            destination_realm="example.net",
            auth_application_id=4,
            service_context_id="32251@3gpp.org",
            cc_request_type=kind,
            cc_request_number=number,
            subscription_id=(
                SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=of),
            ),
            multiple_services_credit_control=(line,),
            **more,
        )
        return message.encode(hop_by_hop=self.end_to_end, end_to_end=self.end_to_end)

    async def ask(self, client: OctetPeer, *words: Any, **more: Any) -> int:
        """Units granted, or the negative result of the line."""
        client.send(self.ccr(*words, **more))
        answer = await client.message(15)
        while isinstance(answer, ReAuthRequest):  # one more for what was told already: it may be repeated freely
            client.send(raa(answer, words[0], 2001))
            answer = await client.message(15)
        assert isinstance(answer, CreditControlAnswer), answer
        [line] = answer.multiple_services_credit_control
        granted = line.granted_service_unit
        return granted.cc_total_octets // UNIT if granted and granted.cc_total_octets else -(line.result_code or 0)

    async def held(self, account: str, wanted: str) -> None:
        async with asyncio.timeout(30):
            while (await self.api.get("v1", "accounts", account))["held"] != wanted:
                await asyncio.sleep(0.1)

    async def state(self, account: str) -> dict[str, str]:
        page = await self.api.get("v1", "sessions", account=account)
        return {one["id"]: one["state"] for one in page["items"]}


async def rar(client: OctetPeer, host: str, result: int = 2001, timeout_s: float = 15) -> str:
    """The Session-Id it is about; answered in the name of `host`."""
    message = await client.message(timeout_s)
    assert isinstance(message, ReAuthRequest), message
    client.send(raa(message, host, result))
    return message.session_id


def raa(message: ReAuthRequest, host: str, result: int) -> bytes:
    answer = ReAuthAnswer(
        session_id=message.session_id, result_code=result, origin_host=host, origin_realm="example.net"
    )
    return answer.answer(message)


async def silent(client: OctetPeer, for_s: float = 1.5, but: str = "") -> None:
    """Nothing comes, unless once more for the session `but`: two records may each give reason to ask it."""
    with contextlib.suppress(TimeoutError):
        message = await client.message(for_s)
        assert isinstance(message, ReAuthRequest), message
        assert message.session_id == but
        client.send(raa(message, but.partition(";")[0], 2001))


async def test_the_network_is_told() -> None:
    async with running("workers=2") as server, Api(server.url, server.token) as api:
        await api.put("v1", "tariffs", "told", body=TARIFF)
        w = World(api, server.diameter_port)
        await barred_during_a_session(w)
        await limited_during_a_session(w)
        await unknown_to_its_host(w)
        await the_largest_holder(w)
        await refused_after_its_final_units(w)
        await a_raised_origin_state(w)


async def barred_during_a_session(w: World) -> None:
    await w.account("a1", "10.00", "4911", "4912")
    gw = await w.gateway("gw1.example.net")
    assert await w.ask(gw, "gw1.example.net", "1", "4911", START, 0, asked=100) == 100
    assert await w.ask(gw, "gw1.example.net", "2", "4912", START, 0, asked=100) == 100
    await w.subscriber("4911", "a1", "*", barred=True)
    assert await rar(gw, "gw1.example.net") == "gw1.example.net;1"
    await silent(gw, but="gw1.example.net;1")
    assert await w.ask(gw, "gw1.example.net", "1", "4911", UPDATE, 1, asked=100, used=100) == -4010
    await w.subscriber("4911", "a1", "*", barred=False)
    assert await rar(gw, "gw1.example.net") == "gw1.example.net;1"
    gw.end()


async def limited_during_a_session(w: World) -> None:
    """A spending limit concerns sessions that run, and its subscriber's alone (charging.md section 15)."""
    await w.account("a7", "10.00", "4971", "4972")
    gw, host = await w.gateway("gw7.example.net"), "gw7.example.net"
    assert await w.ask(gw, host, "1", "4971", START, 0, asked=100) == 100
    assert await w.ask(gw, host, "2", "4972", START, 0, asked=100) == 100
    limit = ("v1", "subscribers", "4971", "limits", "pocket-money")
    await w.api.put(*limit, body={"amount": "0.15", "period": "month"})
    assert await rar(gw, host) == f"{host};1"
    await silent(gw, but=f"{host};1")
    assert await w.ask(gw, host, "1", "4971", UPDATE, 1, asked=100, used=100) == 100
    assert await w.ask(gw, host, "3", "4971", START, 0, asked=100) == 50
    assert await w.ask(gw, host, "1", "4971", UPDATE, 2, asked=100, used=100) == -4012
    assert await rar(gw, host) == f"{host};3"
    assert await w.ask(gw, host, "3", "4971", UPDATE, 1, asked=100, used=50) == -4012
    assert await w.ask(gw, host, "2", "4972", UPDATE, 1, asked=100, used=100) == 100
    [shown] = (await w.api.get(*limit[:-1]))["items"]
    assert (shown["used"], shown["held"], shown["left"]) == ("0.15", "0.00", "0.00")
    await w.api.put(*limit, body={"amount": "1.00", "period": "month"})
    assert await rar(gw, host) in (f"{host};1", f"{host};3")
    assert await w.ask(gw, host, "1", "4971", UPDATE, 3, asked=100) == 100
    gw.end()


async def unknown_to_its_host(w: World) -> None:
    """5002 of a relay says nothing of the session; that of its own host ends it. A U reopens it, a T settles it."""
    await w.account("a2", "10.00", "4921")
    relay, far = await w.gateway(RELAY), "far.example.net"
    assert await w.ask(relay, far, "1", "4921", START, 0, asked=100) == 100
    await w.held("a2", "0.10")
    account = {"currency": "EUR"}
    await w.api.put("v1", "accounts", "a2", body=account | {"credit_limit": "5.00"}, match="*")
    await w.api.put("v1", "accounts", "a2", body=account | {"credit_limit": "0.00"}, match="*")
    assert await rar(relay, RELAY, 5002) == f"{far};1"
    await asyncio.sleep(3)
    await w.held("a2", "0.10")
    await w.api.put("v1", "accounts", "a2", body=account | {"credit_limit": "5.00"}, match="*")
    await w.api.put("v1", "accounts", "a2", body=account | {"credit_limit": "0.00"}, match="*")
    assert await rar(relay, far, 5002) == f"{far};1"
    await w.held("a2", "0.00")
    assert await w.state("a2") == {f"{far};1": "abandoned"}
    assert await w.ask(relay, far, "1", "4921", UPDATE, 1, asked=50, used=100) == 50
    assert await w.state("a2") == {f"{far};1": "open"}
    assert await w.ask(relay, far, "1", "4921", STOP, 2, used=50) == -2001
    await w.held("a2", "0.00")
    assert (await w.api.get("v1", "accounts", "a2"))["available"] == "9.85"
    relay.end()


async def the_largest_holder(w: World) -> None:
    await w.account("a3", "0.30", "4931", "4932", "4933")
    gw = await w.gateway("gw3.example.net")
    assert await w.ask(gw, "gw3.example.net", "a", "4931", START, 0, asked=100) == 100
    assert await w.ask(gw, "gw3.example.net", "b", "4932", START, 0, asked=200) == 200
    for number in range(5):
        gw.send(w.ccr("gw3.example.net", f"c{number}", "4933", START, 0, asked=100))
    heard = [await gw.message() for _ in range(6)]
    rars = [one.session_id for one in heard if isinstance(one, ReAuthRequest)]
    assert rars == ["gw3.example.net;b"]
    await silent(gw)
    gw.end()


async def refused_after_its_final_units(w: World) -> None:
    await w.account("a4", "0.10", "4941")
    gw = await w.gateway("gw4.example.net")
    assert await w.ask(gw, "gw4.example.net", "1", "4941", START, 0, asked=100) == 100
    assert await w.ask(gw, "gw4.example.net", "1", "4941", UPDATE, 1, asked=100, used=100) == -4012
    await w.top_up("a4", "5.00")
    assert await rar(gw, "gw4.example.net") == "gw4.example.net;1"
    gw.end()


async def a_raised_origin_state(w: World) -> None:
    """Behind a relay, and on another connection than before."""
    await w.account("a5", "10.00", "4951", "4952")
    relay, other, far = await w.gateway(RELAY), await w.gateway("dra2.example.net"), "far5.example.net"
    assert await w.ask(relay, far, "1", "4951", START, 0, asked=100, origin_state_id=7) == 100
    assert await w.ask(relay, far, "2", "4952", START, 0, asked=100) == 100
    await w.held("a5", "0.20")
    assert await w.ask(other, far, "3", "4951", START, 0, asked=100, origin_state_id=8) == 100
    await w.held("a5", "0.20")
    async with asyncio.timeout(30):
        while (await w.state("a5"))[f"{far};1"] != "abandoned":
            await asyncio.sleep(0.1)
    assert await w.state("a5") == {f"{far};1": "abandoned", f"{far};2": "open", f"{far};3": "open"}
    assert await w.ask(relay, far, "1", "4951", STOP, 1, used=60) == -2001
    assert (await w.api.get("v1", "accounts", "a5"))["available"] == "9.74"
    relay.end()
    other.end()
