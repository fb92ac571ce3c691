"""More than can be done: who is refused, who waits, and who is answered whatever the load (charging.md 11)."""

from types import SimpleNamespace
from typing import Any

import pytest

from ocs.net.admission import REFUSING_US_MAX
from ocs.net.diameter import exchange
from protocol.diameter.dictionary.base import DeviceWatchdogAnswer, ErrorAnswer
from protocol.diameter.dictionary.credit_control import CcRequestType, CreditControlAnswer
from protocol.errors import ResultCode
from tests.ocs.net.world import OctetPeer, World, ccr, dwr, until, world

I = CcRequestType.INITIAL_REQUEST  # noqa: E741  as charging.md calls them
U = CcRequestType.UPDATE_REQUEST
T = CcRequestType.TERMINATION_REQUEST
E = CcRequestType.EVENT_REQUEST


def narrow(w: World, limit: int) -> None:
    """That many are taken on, a fifth of them only for reports."""
    w.admission.limit.now = w.admission.limit.most = limit
    w.admission.free_below = limit * 4 // 5


async def refused(client: OctetPeer, count: int = 1) -> None:
    for _ in range(count):
        answer = await client.message()
        assert isinstance(answer, ErrorAnswer)
        assert answer.result_code == ResultCode.TOO_BUSY


async def test_what_is_new_is_refused_before_what_is_open() -> None:
    async with world() as w:
        narrow(w, 5)
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(*(ccr(number, cc_request_type=I) for number in range(4)))
        await until(lambda: len(w.stub.waiting) == 4)
        for kind in (I, E):
            client.send(ccr(9, cc_request_type=kind))
            await refused(client)
        client.send(*(ccr(number, cc_request_type=kind) for number, kind in enumerate((U, T, U, T, U), 10)))
        await until(lambda: len(w.stub.waiting) == 9)  # counted by themselves, they are not too many
        client.send(ccr(20, cc_request_type=T))
        await refused(client)  # now they are


async def test_beyond_what_may_be_refused_it_waits_and_watchdogs_are_answered() -> None:
    async with world() as w:
        narrow(w, 1)
        w.stub.hold = True
        client, other = await (await w.client()).open(), await (await w.client()).open("b.example.net")
        client.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 1)
        w.admission.refusing.spend(10**9)
        client.send(ccr(1), ccr(2), dwr())
        assert isinstance(await client.message(), DeviceWatchdogAnswer)
        other.send(ccr(3), dwr())
        assert isinstance(await other.message(), DeviceWatchdogAnswer)
        link = w.links[0]
        assert [len(one.waiting) for one in w.links] == [2, 1]
        client.send(ccr(4))  # is not read
        w.stub.hold = False
        w.stub.waiting[0].resolve(None)
        for _ in range(4):
            assert isinstance(await client.message(), CreditControlAnswer)
        assert isinstance(await other.message(), CreditControlAnswer)
        # in turn: the second connection does not wait for all of the first
        assert [request.cc_request_number for request in w.stub.requests][:3] == [0, 1, 3]
        assert not link.waiting


async def test_what_waits_is_refused_when_refusals_are_affordable_again() -> None:
    async with world() as w:
        narrow(w, 1)
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 1)
        w.admission.refusing.spend(REFUSING_US_MAX + 1_000)
        client.send(*(ccr(number) for number in range(1, 6)))
        await refused(client, 5)


async def test_a_connection_that_ended_while_it_waited_is_noticed_at_its_turn() -> None:
    async with world() as w:
        narrow(w, 1)
        w.stub.hold = True
        client, other = await (await w.client()).open(), await (await w.client()).open("b.example.net")
        client.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 1)
        w.admission.refusing.spend(10**9)
        other.send(ccr(1), ccr(2))
        await until(lambda: len(w.links[1].waiting) == 2)
        await other.gone()
        w.stub.hold = False
        w.stub.waiting[0].resolve(None)
        await until(lambda: not w.links[1].open)
        client.send(ccr(3))
        assert isinstance(await client.message(), CreditControlAnswer)
        assert isinstance(await client.message(), CreditControlAnswer)
        assert w.admission.in_flight == 0


async def test_an_emergency_is_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rating can tell, so what may be one goes there, to be refused by it unless it is."""
    asked: list[Any] = []

    async def handle(request: Any, _shop: object, _now_ms: int, *, urgent_only: bool = False) -> Any:
        asked.append((request.service_context_id, urgent_only))
        return w.stub.answer

    async with world() as w:
        w.admission.in_flight = 10**6
        service: Any = w.nodes[0].service
        service.handle = handle
        catalog = SimpleNamespace(has_emergencies=lambda service: service == "voice")
        monkeypatch.setattr(service, "context", SimpleNamespace(catalog=catalog, settings=service.settings))
        client = await (await w.client()).open()
        client.send(ccr(0, cc_request_type=I, service_context_id="32260@3gpp.org"))
        assert isinstance(await client.message(), CreditControlAnswer)
        client.send(ccr(1, cc_request_type=I, service_context_id="32251@3gpp.org"))
        await refused(client)
        assert asked == [("32260@3gpp.org", True)]


async def test_an_answer_that_is_late_goes_out_and_one_nobody_wants_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """`An answer that is late goes out while its connection lives and less than 10 s have passed.`"""
    async with world() as w:
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(ccr(0), ccr(1))
        await until(lambda: len(w.stub.waiting) == 2)
        w.stub.waiting[0].resolve(None)
        assert isinstance(await client.message(), CreditControlAnswer)
        monkeypatch.setattr(exchange, "WANTED_US", 0)
        w.stub.waiting[1].resolve(None)
        client.send(dwr())
        assert isinstance(await client.message(), DeviceWatchdogAnswer)
        assert w.count("ocs_requests_unanswered_total", "diameter", "too late") == 1
        assert w.admission.in_flight == 0
