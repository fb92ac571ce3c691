"""`/v1/radius/clients`: what addresses of RADIUS clients do, as the workers wrote it."""

from __future__ import annotations

import pytest

from ocs.charging.radius.habits import KEPT_MIN, Habit
from ocs.clock import now_ms
from ocs.net.radius.clients import NasClients
from ocs.net.radius.conduct import Conducts
from ocs.net.radius.conduct_book import ConductBook
from protocol.radius.authenticator import signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError
from tests.ocs.api_harness import ApiHarness

REQUEST = Packet.decode(signed_request(Packet(PacketCode.ACCESS_REQUEST), b"s", sign=False))


async def seen(harness: ApiHarness, times: dict[str, tuple[int, int]], learn_ms: int = 0) -> None:
    """By address, how many Access-Requests were signed and how many not."""
    conducts = Conducts()
    conducts.learnt(frozenset())
    clients, newest_ms = NasClients(harness.backoffice.radius), now_ms()
    for at, (address, (signed, unsigned)) in enumerate(times.items()):
        client = clients.of(address)
        assert client is not None
        conduct = conducts.of(address, client, newest_ms - at)
        for _ in range(signed):
            conduct.judge(REQUEST, True)
        for _ in range(unsigned):
            conduct.judge(REQUEST, False)
        conducts.dropped(address, client, "authenticator", newest_ms - at)
    await ConductBook(harness.link, conducts, learn_ms, now_ms).tell()


async def test_addresses_are_listed_with_what_they_do(harness: ApiHarness) -> None:
    await seen(harness, {"10.0.0.1": (KEPT_MIN, 0), "10.0.0.2": (3, 4), "10.0.0.3": (0, 2)}, learn_ms=0)
    page = (await harness.call("GET", "/v1/radius/clients")).json()
    assert [(one["address"], one["group"], one["message_authenticator"]) for one in page["clients"]] == [
        ("10.0.0.0/8", "bras", "learn")
    ]
    told = {one["address"]: one for one in page["items"]}
    found = {
        address: (one["signed"]["strictness"], one["signed"]["kept"], one["signed"]["broken"])
        for address, one in told.items()
    }
    assert found == {"10.0.0.1": ("require", KEPT_MIN, 0), "10.0.0.2": ("warn", 3, 4), "10.0.0.3": ("learn", 0, 2)}
    one = told["10.0.0.1"]
    assert (one["client"], one["group"], one["profile"]) == ("10.0.0.0/8", "bras", "generic")
    assert one["dropped"] == {"authenticator": 1}
    assert one["seen"]
    assert one["signed"]["demanded_since"]
    assert told["10.0.0.2"]["signed"]["last_broken"]


async def test_in_pages_each_once(harness: ApiHarness) -> None:
    await seen(harness, {f"10.0.0.{number}": (1, 0) for number in range(10)})
    found: list[str] = []
    before: str | None = ""
    while before is not None:
        page = (await harness.call("GET", f"/v1/radius/clients?limit=3&before={before}")).json()
        found += [one["address"] for one in page["items"]]
        before = page["next"]
    assert found == [f"10.0.0.{number}" for number in range(10)]


async def test_one_that_is_reset_begins_anew(harness: ApiHarness) -> None:
    await seen(harness, {"10.0.0.1": (KEPT_MIN, 0)})
    worker, clients = Conducts(), NasClients(harness.backoffice.radius)
    book = ConductBook(harness.link, worker, 0, now_ms)
    client = clients.of("10.0.0.1")
    assert client is not None

    async def look() -> None:
        raw = await harness.redis.hgetall("radius:required")
        book._learnt(b"1", [part for pair in raw.items() for part in pair])

    await look()
    with pytest.raises(RadiusError):
        worker.of("10.0.0.1", client, now_ms()).judge(REQUEST, False)
    reply = await harness.call("POST", "/v1/radius/clients/10.0.0.1/reset")
    assert (reply.status_code, reply.json()["signed"]["strictness"]) == (200, "learn")
    await look()
    assert worker.of("10.0.0.1", client, now_ms()).judge(REQUEST, False) is Habit.SIGNED
    assert (await harness.call("POST", "/v1/radius/clients/10.0.0.1/reset")).status_code == 404
