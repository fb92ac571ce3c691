"""TMF654's hub: events of a real ledger as TM Forum's notifications, delivered as every webhook is."""

from __future__ import annotations

from typing import Any

import httpx

from ocs.tmf654.words import BASE
from tests.ocs.events.webhooks.receiver import receiving
from tests.ocs.events.webhooks.world import DeliveryWorld, a_world, until
from tests.servers import Servers


async def subscribe(world: DeliveryWorld, callback: str, query: str = "") -> httpx.Response:
    return await world.harness.call("POST", f"{BASE}/hub", {"callback": callback, "query": query})


async def post(world: DeliveryWorld, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
    made = await world.harness.call("POST", f"{BASE}/{path}", body, idempotency_key=key)
    assert made.status_code in (201, 202), made.text
    return dict(made.json())


def wish(amount: float, account: str) -> dict[str, Any]:
    return {
        "amount": {"amount": amount, "units": "EUR"},
        "usageType": "monetary",
        "bucket": {"id": f"{account}:0"},
        "partyAccount": {"id": account},
    }


async def test_what_is_done_is_told_as_it_is_shown(servers: Servers) -> None:
    async with receiving() as receiver, a_world(servers) as world:
        made = await subscribe(world, f"{receiver.url}/")
        assert made.status_code == 201, made.text
        id_ = made.json()["id"]
        receiver.secrets.append(
            (await world.harness.call("POST", f"/v1/webhooks/{id_}/rotate-secret", {"overlap_s": 0})).json()["secret"]
        )
        top_up = await post(world, "topupBalance", wish(5.5, "a1"), "k1")
        adjustment = await post(world, "adjustBalance", wish(-0.25, "a1"), "k2")
        gift = {
            "reason": "gift",
            "receiverBucket": {"id": "a2:0"},
            "receiverBucketUsageType": "monetary",
        }
        transfer = await post(world, "transferBalance", wish(2, "a1") | gift, "k3")
        await until(lambda: len(receiver.got) == 3)
        got = {one.event["eventType"]: one for one in receiver.got}
        for name, member, shown in (
            ("TopupBalanceCreateEvent", "topupBalance", top_up),
            ("AdjustBalanceCreateEvent", "adjustBalance", adjustment),
            ("TransferBalanceCreateEvent", "transferBalance", transfer),
        ):
            one = got[name]
            assert one.path == f"/hook/listener/{name[0].lower()}{name[1:]}"
            assert one.headers["content-type"] == "application/json"
            assert (one.event["eventId"], one.event["domain"]) == (one.id, "prepayBalanceManagement")
            told, dates = one.event["event"][member], ("requestedDate", "confirmationDate")
            assert {k: v for k, v in told.items() if k not in dates} == {
                k: v for k, v in shown.items() if k not in dates
            }
        assert (await world.harness.call("DELETE", f"{BASE}/hub/{id_}")).status_code == 204
        assert (await world.harness.call("DELETE", f"{BASE}/hub/{id_}")).status_code == 404


async def test_only_what_is_asked_for_and_only_hubs(servers: Servers) -> None:
    async with receiving() as receiver, a_world(servers) as world:
        made = await subscribe(world, receiver.url, "eventType=TopupBalanceCreateEvent&partyAccount.id=a2")
        id_ = made.json()["id"]
        path = f"/v1/webhooks/{id_}"
        shown = (await world.harness.call("GET", path)).json()
        assert (shown["form"], shown["types"], shown["accounts"]) == ("tmf654", ["top_up.received"], ["a2"])
        everything = await world.harness.call("PATCH", path, {"types": []}, if_match="*")
        assert everything.status_code == 200, everything.text  # what TM Forum has no notification of is passed over
        await post(world, "topupBalance", wish(1, "a1"), "k1")
        version = {"currency": "EUR", "state": "suspended"}
        await world.harness.call("PUT", "/v1/accounts/a2", version, if_match="*")
        last = await post(world, "topupBalance", wish(2, "a2"), "k2")
        await until(lambda: receiver.got)
        assert [one.event["event"]["topupBalance"]["id"] for one in receiver.got] == [last["id"]]
        assert (await world.harness.call("POST", f"{path}/test")).status_code == 409
        other = await world.webhook(receiver.url, id="crm")
        assert (await world.harness.call("DELETE", f"{BASE}/hub/{other['id']}")).status_code == 404
        for query in ("eventType=ReserveBalanceCreateEvent", "colour=red", "nonsense"):
            refused = await subscribe(world, receiver.url, query)
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid"), query
        for callback in ("https://10.0.0.1/x", "ftp://hooks.example.net/", ""):
            assert (await subscribe(world, callback)).status_code == 400, callback
