"""Events of a real ledger to receivers on real sockets, by the dispatcher of a keeper: what receivers do wrong, and
what arrives all the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from ocs.config.events import Webhooks
from ocs.events.webhooks import client as client_module
from ocs.events.webhooks import queue as queue_module
from tests.ocs.events.webhooks.receiver import (
    OK,
    Answer,
    Receiver,
    cut,
    endless,
    receiving,
    stalling,
    status,
)
from tests.ocs.events.webhooks.world import DeliveryWorld, a_world, until
from tests.servers import Servers


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is seconds and hours in the world: a test waits for what happens, not for that."""
    monkeypatch.setattr(queue_module, "BACK_OFF_S", (0.02, 0.05, 0.1))
    monkeypatch.setattr(queue_module, "PROBE_S_MAX", 0.2)
    monkeypatch.setattr(queue_module, "PAUSED_PROBE_S_MAX", 0.2)
    monkeypatch.setattr(client_module, "DRAIN_S", 0.2)


async def all_arrived(world: DeliveryWorld, receiver: Receiver, count: int) -> None:
    """Every event, with the id it has in PostgreSQL, and those of an account in their order: a repetition counts where
    it came first."""
    expected = await world.events()
    assert len(expected) == count
    ids = {one.row.id for one in expected}
    await until(lambda: {got.id for got in receiver.got} >= ids)
    first: dict[str, list[str]] = defaultdict(list)
    for got in receiver.got:
        assert got.event["id"] == got.id
        assert got.event["type"] == "top_up.received"
        if got.id not in first[got.event["account"]]:
            first[got.event["account"]].append(got.id)
    wanted: dict[str, list[str]] = defaultdict(list)
    for one in expected:
        wanted[one.row.account].append(one.row.id)
    assert first == wanted


async def nothing_left(world: DeliveryWorld, webhook: str) -> None:
    async with asyncio.timeout(30):
        while (found := await world.shown(webhook))["waiting"] or found["state"] != "active":
            await asyncio.sleep(0.02)


async def test_events_arrive_signed_once_and_in_order(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        receiver.secrets.append(made["secret"])
        await world.top_ups("a1", "a2", "a3", each=5)
        await all_arrived(world, receiver, 15)
        assert len(receiver.got) == 15
        assert receiver.got[0].headers["content-type"] == "application/cloudevents+json"
        await nothing_left(world, made["id"])
        found = await world.shown(made["id"])
        assert (found["delivered"], found["secret"]) == (15, None)
        assert (await world.harness.call("GET", f"/v1/webhooks/{made['id']}/deliveries")).json()["items"] == []


FAULTS: dict[str, Answer] = {
    "500": status(500),
    "301": status(301, "location: http://127.0.0.1:1/"),
    "404": status(404),
    "cut": cut,
    "stalls": stalling,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_receiver_that_fails_for_a_while_gets_everything_in_order(servers: Servers, fault: str) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        receiver.secrets.append(made["secret"])
        receiver.answer = lambda _got: FAULTS[fault]
        await world.top_ups("a1", "a2", each=4)
        await until(lambda: len(receiver.tried) >= 4)
        receiver.answer = lambda _got: OK
        await all_arrived(world, receiver, 8)
        await nothing_left(world, made["id"])
        shown = (await world.harness.call("GET", f"/v1/webhooks/{made['id']}/deliveries?state=delivered")).json()
        assert shown["items"], "what needed more than one attempt is listed"


async def test_each_answer_may_be_another_fault(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        turns = [*FAULTS.values(), OK, endless, OK, status(429, "retry-after: 0")] * 2
        receiver.answer = lambda _got: turns.pop() if turns else OK
        await world.top_ups("a1", "a2", "a3", each=6)
        await all_arrived(world, receiver, 18)
        await nothing_left(world, made["id"])


async def test_a_receiver_that_is_killed_and_comes_back(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        await world.top_ups("a1", "a2", each=2)
        await until(lambda: len(receiver.got) >= 2)
        await receiver.stop()
        await world.top_ups("a1", "a2", "a3", each=4)
        async with asyncio.timeout(30):
            while not (await world.shown(made["id"]))["failing_since"]:
                await asyncio.sleep(0.02)
        await receiver.start()
        await all_arrived(world, receiver, 16)
        await nothing_left(world, made["id"])


async def test_one_that_stalls_delays_no_other(servers: Servers) -> None:
    """The slow one gets no answer out before the fast one has everything."""
    settings = Webhooks(allow_private=("127.0.0.1",), allow_http=True, timeout_s=60)
    async with a_world(servers, settings) as world, receiving() as slow, receiving() as fast:
        slow.answer = lambda _got: stalling
        for _ in range(3):
            await world.webhook(slow.url)
        await world.webhook(fast.url)
        await world.top_ups("a1", "a2", "a3", each=5)
        await all_arrived(world, fast, 15)
        assert slow.got == []
        assert len(slow.tried) == 3 * 3, "one of each account is under way, to each"
        await slow.stop()


async def test_a_process_that_is_killed_sends_what_was_not_noted_again(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        await world.webhook(receiver.url)
        for _ in range(5):
            await world.top_ups("a1", "a2", "a3", each=2)
            before = len(receiver.got)
            await until(lambda before=before: len(receiver.got) > before)  # type: ignore[misc]
            await world.kill()
            await world.begin()
        await all_arrived(world, receiver, 30)


async def test_a_refused_event_holds_up_its_account_for_a_while_and_no_other(servers: Servers) -> None:
    settings = Webhooks(allow_private=("127.0.0.1",), allow_http=True, order_s=1)
    async with a_world(servers, settings) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        await world.top_ups("a1")
        [poison] = await world.events()
        receiver.answer = lambda got: status(400, body=b"no such customer") if got.id == poison.row.id else OK
        await world.top_ups("a1", "a2", "a3", each=3)
        await until(lambda: len(receiver.got) == 9)
        others = [got for got in receiver.got if got.event["account"] == "a1"]
        assert [got.event["data"]["buckets"][0]["amount"] for got in others] == ["1.00", "1.01", "1.02"]
        path = f"/v1/webhooks/{made['id']}/deliveries/{poison.row.id}"
        found = (await world.harness.call("GET", path)).json()
        assert (found["state"], found["result"]) == ("waiting", "400: no such customer")
        assert found["attempts"] >= 3
        world.harness.ahead_ms = queue_module.GIVEN_UP_MS + 60_000
        await world.harness.call("POST", f"{path}/retry")
        async with asyncio.timeout(30):
            while (await world.harness.call("GET", path)).json()["state"] != "dead":
                await asyncio.sleep(0.02)
        assert (await world.shown(made["id"]))["dead"] == 1
        receiver.answer = lambda _got: OK
        again = await world.harness.call("POST", f"/v1/webhooks/{made['id']}/deliveries/retry")
        assert again.json() == {"deliveries": 1}
        await until(lambda: receiver.got[-1].id == poison.row.id)
        await nothing_left(world, made["id"])
        assert (await world.shown(made["id"]))["dead"] == 0


async def test_paused_with_an_alarm_and_resumed_by_a_probe(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Webhooks(allow_private=("127.0.0.1",), allow_http=True, pause_s=1, order_s=30 * 86_400)
    async with a_world(servers, settings) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        receiver.answer = lambda _got: status(500)
        await world.top_ups("a1", "a2", each=2)
        async with asyncio.timeout(30):
            while (await world.shown(made["id"]))["state"] != "paused":
                await asyncio.sleep(0.02)
        found = await world.shown(made["id"])
        assert (found["paused_for"], found["why"], found["waiting"]) == ("failing", "500", 4)
        await until(lambda: world.dispatcher.paused == {"failing": 1})
        world.harness.ahead_ms = 2 * queue_module.GIVEN_UP_MS  # nothing is given up meanwhile
        tried = len(receiver.tried)
        await until(lambda: len(receiver.tried) > tried + 2)
        assert (await world.shown(made["id"]))["dead"] == 0
        receiver.answer = lambda _got: OK
        await all_arrived(world, receiver, 4)
        await nothing_left(world, made["id"])
        await until(lambda: world.dispatcher.paused == {})
    told = capsys.readouterr()
    said = told.out + told.err
    assert "webhook.paused" in said
    assert "nothing is delivered to 1 webhooks" in said
    assert "webhook.resumed" in said


async def test_paused_and_resumed_by_hand(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        assert (await world.harness.call("POST", f"/v1/webhooks/{made['id']}/pause")).json()["paused_for"] == "person"
        await world.top_ups("a1", "a2", each=2)
        await world.events()
        other = await world.webhook(receiver.url.replace("/hook", "/other"))
        await world.top_ups("a3")
        await until(lambda: len(receiver.got) == 1)
        assert other["id"] != made["id"]
        receiver.got.clear()
        receiver.answer = lambda _got: status(410)
        await world.harness.call("POST", f"/v1/webhooks/{made['id']}/resume")
        async with asyncio.timeout(30):
            while (await world.shown(made["id"]))["paused_for"] != "gone":
                await asyncio.sleep(0.02)
        receiver.answer = lambda _got: OK
        await world.harness.call("POST", f"/v1/webhooks/{made['id']}/resume")
        await all_arrived(world, receiver, 5)


async def test_a_secret_is_replaced_while_events_arrive(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url)
        receiver.secrets = [made["secret"]]
        await world.top_ups("a1")
        await until(lambda: len(receiver.got) == 1)
        path = f"/v1/webhooks/{made['id']}/rotate-secret"
        new = (await world.harness.call("POST", path, {"overlap_s": 3_600})).json()["secret"]
        assert new not in (None, made["secret"])
        receiver.secrets = [made["secret"]]
        await world.top_ups("a1")
        await until(lambda: len(receiver.got) == 2)
        receiver.secrets = [new]
        await world.top_ups("a1")
        await until(lambda: len(receiver.got) == 3)
        last = (await world.harness.call("POST", path, {"overlap_s": 0})).json()["secret"]
        receiver.secrets = [last]
        await world.top_ups("a1")
        await until(lambda: len(receiver.got) == 4)
        assert len(receiver.got[-1].headers["webhook-signature"].split()) in (1, 2)
        await nothing_left(world, made["id"])


async def test_a_forbidden_address_is_a_failure_that_says_so(servers: Servers) -> None:
    settings = Webhooks(allow_http=True)
    async with a_world(servers, settings) as world, receiving() as receiver:
        made = await world.webhook(f"http://localhost:{receiver.port}/")
        await world.top_ups("a1")
        async with asyncio.timeout(30):
            while not (await world.shown(made["id"]))["failing_since"]:
                await asyncio.sleep(0.02)
        assert "no public address" in (await world.shown(made["id"]))["why"]
        assert receiver.tried == []


async def test_a_test_event_and_a_filter(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        made = await world.webhook(receiver.url, accounts=["a2"], id="mine")
        await world.top_ups("a1", "a2", "a3", each=2)
        await until(lambda: len(receiver.got) == 2)
        assert {got.event["account"] for got in receiver.got} == {"a2"}
        sent = (await world.harness.call("POST", "/v1/webhooks/mine/test")).json()
        await until(lambda: len(receiver.got) == 3)
        assert receiver.got[-1].id == sent["event"]
        assert receiver.got[-1].event["type"] == "webhook.test"
        async with asyncio.timeout(30):
            while True:
                found = (await world.harness.call("GET", f"/v1/webhooks/mine/deliveries/{sent['event']}")).json()
                if found["state"] == "delivered":
                    break
                await asyncio.sleep(0.02)
        assert (found["attempts"], found["result"]) == (1, "204")
        assert made["id"] == "mine"


async def test_from_a_stated_event_on(servers: Servers) -> None:
    async with a_world(servers) as world, receiving() as receiver:
        await world.top_ups("a1", each=4)
        events = await world.events()
        await world.webhook(receiver.url, after=events[1].row.id)
        await until(lambda: len(receiver.got) == 2)
        assert [got.id for got in receiver.got] == [one.row.id for one in events[2:]]
