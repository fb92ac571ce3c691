"""Peers over real sockets: second connections, requests of ours, watchdog, drain, dialling."""

import asyncio

from ocs.config.diameter import PeerConfig
from ocs.net.diameter.peers import Peers
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    DeviceWatchdogAnswer,
    DeviceWatchdogRequest,
    DisconnectCause,
    DisconnectPeerAnswer,
    DisconnectPeerRequest,
    ReAuthAnswer,
    ReAuthRequestType,
)
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, ReAuthRequest
from protocol.diameter.peer import Timers
from protocol.errors import ResultCode
from tests.ocs.net.world import LOCAL, OctetPeer, ccr, cer, dwr, until, world

# ---- the second connection of a peer


async def test_a_client_that_crashed_comes_back_at_once() -> None:
    async with world(nodes=2) as w:
        old = await (await w.client()).open("one.example.net")
        w.next_node = 1  # the new one lands on another worker
        new = await w.client()
        new.send(cer("one.example.net"), ccr(0))
        assert isinstance(await old.message(), DeviceWatchdogRequest)  # to which it says nothing
        assert isinstance(await new.message(timeout_s=30), CapabilitiesExchangeAnswer)
        assert isinstance(await new.message(), CreditControlAnswer)
        await old.closed()


async def test_the_old_connection_is_alive() -> None:
    async with world(nodes=2) as w:
        old = await (await w.client()).open("one.example.net")
        w.next_node = 1
        new = await w.client()
        new.send(cer("one.example.net"), ccr(0))
        assert isinstance(await old.message(), DeviceWatchdogRequest)
        old.send(dwr())  # anything heard is life
        assert isinstance(await old.message(), DeviceWatchdogAnswer)
        refusal = await new.frame()
        assert ResultCode.UNABLE_TO_COMPLY.to_bytes(4, "big") in refusal
        await new.closed()
        assert not w.stub.requests
        old.send(ccr(1))
        assert isinstance(await old.message(), CreditControlAnswer)


async def test_the_old_connection_closes_itself() -> None:
    async with world() as w:
        old = await (await w.client()).open("one.example.net")
        old.end()
        new = await w.client()
        await new.open("one.example.net")


async def test_several_connections_of_a_peer() -> None:
    async with world() as w:
        one, two = await (await w.client()).open("two.example.net"), await (await w.client()).open("two.example.net")
        one.send(ccr(0))
        two.send(ccr(1))
        answer = await one.message()
        assert isinstance(answer, CreditControlAnswer)
        assert answer.cc_request_number == 0  # on the connection it was asked on
        assert isinstance(await two.message(), CreditControlAnswer)


# ---- our own requests


def rar(session: str = "s;1;1") -> ReAuthRequest:
    return ReAuthRequest(
        session_id=session, origin_host=LOCAL.origin_host, origin_realm=LOCAL.origin_realm,
        destination_realm="example.net", destination_host="pgw.example.net", auth_application_id=4,
        re_auth_request_type=ReAuthRequestType.AUTHORIZE_ONLY,
    )  # fmt: skip


async def test_a_request_of_ours_and_its_answer() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        heard: list[bytes | None] = []
        assert not w.nodes[0].request("nobody.example.net", rar(), heard.append)
        assert w.nodes[0].request("PGW.example.net", rar(), heard.append)
        request = await client.message()
        assert isinstance(request, ReAuthRequest)
        answer = ReAuthAnswer(session_id="s;1;1", result_code=2001, origin_host="pgw", origin_realm="x")
        client.send(answer.answer(request))
        await until(lambda: len(heard) == 1)
        assert heard[0] is not None
        assert ReAuthAnswer.decode(heard[0]).result_code == 2001


async def test_a_request_of_ours_whose_peer_goes() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        heard: list[bytes | None] = []
        assert w.nodes[0].request("pgw.example.net", rar(), heard.append)
        await client.message()
        client.end()
        await until(lambda: heard == [None])


# ---- watchdog and end


async def test_we_watch_too() -> None:
    async with world(timers=Timers(watchdog_ms=2_100)) as w:  # less jitter: from 0.1 to 4.1 s
        client = await (await w.client()).open()
        assert isinstance(await client.message(timeout_s=30), DeviceWatchdogRequest)


async def test_drain_answers_what_is_under_way() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        w.stub.hold = True
        client.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 1)
        draining = asyncio.ensure_future(w.nodes[0].drain(3.0))
        request = await client.message()
        assert isinstance(request, DisconnectPeerRequest)
        assert request.disconnect_cause == DisconnectCause.REBOOTING
        client.send(ccr(1))  # it crossed our DPR
        await until(lambda: len(w.stub.waiting) == 2)
        answer = DisconnectPeerAnswer(result_code=2001, origin_host="pgw.example.net", origin_realm="example.net")
        client.send(answer.answer(request))
        await asyncio.sleep(0.05)
        for pending in w.stub.waiting:
            pending.resolve(None)
        assert [type(await client.message()) for _ in range(2)] == [CreditControlAnswer] * 2
        await client.closed()
        await draining


async def test_drain_does_not_wait_for_ever() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        w.stub.hold = True
        client.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 1)
        async with asyncio.timeout(30):
            await w.nodes[0].drain(0.1)


# ---- we connect


class Listening:
    """A relay that others dial."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[OctetPeer] = asyncio.Queue()

    async def __aenter__(self) -> "Listening":
        self.server = await asyncio.start_server(
            lambda reader, writer: self.heard.put_nowait(OctetPeer(reader, writer)), "127.0.0.1", 0
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def greeted(self, host: str) -> OctetPeer:
        client = await self.heard.get()
        request = await client.message()
        answer = CapabilitiesExchangeAnswer(
            result_code=2001, origin_host=host, origin_realm="example.net", vendor_id=0,
            product_name="dra", auth_application_id=(0xFFFFFFFF,),
        )  # fmt: skip
        client.send(answer.answer(request), ccr(0))
        assert isinstance(await client.message(), CreditControlAnswer)
        return client


async def test_we_dial() -> None:
    async with Listening() as relay, world() as w:
        w.nodes[0].dial("127.0.0.1", relay.port, "dra.example.net")
        client = await relay.greeted("dra.example.net")
        assert w.count("ocs_peers_up", "diameter") == 1
        await client.gone()


async def test_workers_dial_no_more_often_than_the_peer_may_have_connections() -> None:
    async with Listening() as relay, world(nodes=2) as w:
        w.nodes[0].dial("127.0.0.1", relay.port, "one.example.net")
        client = await relay.greeted("one.example.net")
        w.nodes[1].dial("127.0.0.1", relay.port, "one.example.net")
        dwr = await client.message()
        assert isinstance(dwr, DeviceWatchdogRequest)
        dwa = DeviceWatchdogAnswer(result_code=2001, origin_host="one.example.net", origin_realm="example.net")
        client.send(dwa.answer(dwr))
        await asyncio.sleep(0.1)
        assert relay.heard.empty()
        await client.gone()


# ---- who may connect at all


def test_where_a_peer_may_come_from() -> None:
    """`connections of addresses no peer has are closed at accept`"""
    far = PeerConfig(origin_host="far.net", addresses=("203.0.113.0/24", "2001:db8::/32"))
    anywhere = PeerConfig(origin_host="any.net")
    assert not Peers(()).may_come_from("127.0.0.1")
    assert Peers((), admit_loopback=True).may_come_from("127.0.0.1")
    assert Peers((), admit_loopback=True).may_come_from("::1")
    assert not Peers((), admit_loopback=True).may_come_from("10.0.0.1")
    assert Peers((far,)).may_come_from("203.0.113.9")
    assert Peers((far,)).may_come_from("2001:db8::9")
    assert not Peers((far,)).may_come_from("203.0.114.9")
    assert Peers((far, anywhere)).may_come_from("203.0.114.9")


async def test_who_has_not_said_who_it_is_makes_room() -> None:
    async with world() as w:
        silent, known = await w.client(), await (await w.client()).open()
        await until(lambda: len(w.links) == 2)
        for number in (1, 2, 3):
            w.nodes[0].dismiss(number)
        await silent.closed()
        known.send(ccr(0))
        assert isinstance(await known.message(), CreditControlAnswer)
