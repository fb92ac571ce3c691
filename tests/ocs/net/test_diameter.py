"""The skin, from the outside: octets in, octets out, over real sockets, with a stub where charging would be."""

import asyncio
import socket
from typing import Any

import pytest

from ocs.charging.request import Busy
from ocs.net.diameter import Node
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    DeviceWatchdogAnswer,
    DeviceWatchdogRequest,
    DisconnectCause,
    DisconnectPeerAnswer,
    DisconnectPeerRequest,
    ErrorAnswer,
    ReAuthAnswer,
    ReAuthRequestType,
    SessionTerminationRequest,
)
from protocol.diameter.dictionary.credit_control import CreditControlAnswer, ReAuthRequest
from protocol.diameter.header import ERROR, PROXIABLE, REQUEST, Header
from protocol.diameter.peer import Timers
from protocol.errors import ResultCode
from tests.ocs.net.world import LOCAL, Client, ccr, cer, dpr, dwr, until, world


async def test_capabilities_watchdog_disconnect() -> None:
    async with world() as w:
        client = await w.client()
        client.send(cer())
        cea = await client.message()
        assert isinstance(cea, CapabilitiesExchangeAnswer)
        assert (cea.result_code, cea.origin_host) == (ResultCode.SUCCESS, LOCAL.origin_host)
        client.send(dwr())
        dwa = await client.message()
        assert isinstance(dwa, DeviceWatchdogAnswer)
        assert dwa.result_code == ResultCode.SUCCESS
        assert w.count("ocs_peers_up", "diameter") == 1
        client.send(dpr())
        assert isinstance(await client.message(), DisconnectPeerAnswer)
        client.end()  # the receiver of the DPA closes (RFC 6733 section 5.4.2)
        await until(lambda: w.count("ocs_peers_up", "diameter") == 0)


async def test_credit_control_is_answered() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        client.send(ccr(3))
        frame = await client.frame()
        header = Header.of(frame)
        assert (header.hop_by_hop, header.end_to_end, header.application) == (103, 203, 4)
        assert header.flags == PROXIABLE
        cca = CreditControlAnswer.decode(frame)
        assert (cca.cc_request_number, cca.result_code) == (3, ResultCode.SUCCESS)
        assert w.count("ocs_requests_total", "diameter", "CCR", "UPDATE", "2001") == 1
        assert w.count("ocs_requests_in_flight", "diameter") == 0


async def test_requests_in_one_segment_with_the_cer_and_right_behind_it() -> None:
    async with world() as w:
        client = await w.client()
        client.send(cer(), ccr(0), ccr(1), ccr(2)[:30])  # the claim is decided 10 ms later
        await asyncio.sleep(0.005)
        client.send(ccr(2)[30:], dwr(), ccr(3))
        kinds = [type(await client.message()) for _ in range(6)]
        assert kinds[0] is CapabilitiesExchangeAnswer
        assert kinds.count(CreditControlAnswer) == 4
        assert kinds.count(DeviceWatchdogAnswer) == 1
        assert len(w.stub.requests) == 4


async def test_octet_by_octet() -> None:
    async with world() as w:
        client = await w.client()
        for octet in cer() + ccr(0):
            client.send(bytes((octet,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert isinstance(await client.message(), CapabilitiesExchangeAnswer)
        assert isinstance(await client.message(), CreditControlAnswer)


async def test_answers_of_one_turn_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        client = await (await w.client()).open()
        writes: list[int] = []
        transport: Any = w.links[0]._transport

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                writes.append(len(data))
                transport.write(data)

        monkeypatch.setattr(w.links[0], "_transport", Counting())
        client.send(*(ccr(number) for number in range(50)))
        for _ in range(50):
            await client.message()
        assert len(writes) <= 2


async def test_nagle_is_off() -> None:
    async with world() as w:
        await (await w.client()).open()
        transport: Any = w.links[0]._transport
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# ---- what is refused


async def test_an_unknown_peer() -> None:
    async with world() as w:
        client = await w.client()
        client.send(cer("far.example.net"))  # listed, but not from here
        answer = await client.message()
        assert isinstance(answer, ErrorAnswer)
        assert answer.result_code == ResultCode.UNKNOWN_PEER
        assert answer.flags & ERROR
        await client.closed()
        assert w.count("ocs_connections_total", "diameter", "unknown peer") == 1


async def test_no_common_application() -> None:
    async with world() as w:
        client = await w.client()
        client.send(cer(auth_application_id=(16777238,)))
        cea = await client.message()
        assert isinstance(cea, CapabilitiesExchangeAnswer)
        assert cea.result_code == ResultCode.NO_COMMON_APPLICATION
        await client.closed()


async def test_the_first_message_is_a_cer_or_the_end() -> None:
    async with world() as w:
        client = await w.client()
        client.send(ccr(0))
        await client.closed()
        assert not w.stub.requests


async def test_silence_before_the_cer_is_the_end_too() -> None:
    async with world() as w:
        client = await w.client()
        await client.closed(timeout_s=2.0)


def changed(frame: bytes, start: int, octets: bytes) -> bytes:
    return frame[:start] + octets + frame[start + len(octets) :]


@pytest.mark.parametrize(
    ("frame", "result", "has_e"),
    [
        (ccr(destination_realm="elsewhere.net"), ResultCode.REALM_NOT_SERVED, True),
        (ccr(destination_host="other.example.net"), ResultCode.UNABLE_TO_DELIVER, True),
        (changed(ccr(), 8, (16777238).to_bytes(4, "big")), ResultCode.APPLICATION_UNSUPPORTED, True),
        (changed(ccr(), 5, (316).to_bytes(3, "big")), ResultCode.COMMAND_UNSUPPORTED, True),
        (changed(ccr(), 0, b"\2"), ResultCode.UNSUPPORTED_VERSION, False),
        (changed(ccr(), 4, bytes((REQUEST | PROXIABLE | ERROR,))), ResultCode.INVALID_HDR_BITS, True),
        (changed(ccr(), len(ccr()) - 7, b"\0\0\7"), ResultCode.INVALID_AVP_LENGTH, False),
    ],
)
async def test_each_mistake_has_its_answer(frame: bytes, result: ResultCode, has_e: bool) -> None:
    async with world() as w:
        client = await (await w.client()).open()
        client.send(frame, ccr(9))
        header = Header.of(refusal := await client.frame())
        assert (header.hop_by_hop, header.end_to_end) == (100, 200)
        assert bool(header.flags & ERROR) == has_e
        assert not header.is_request
        assert result.to_bytes(4, "big") in refusal
        assert isinstance(await client.message(), CreditControlAnswer)  # and the connection lives on
        assert len(w.stub.requests) == 1


@pytest.mark.parametrize("host", ["OCS.example.NET", None, "ocs.example.net"])
async def test_destinations_that_are_ours(host: str | None) -> None:
    async with world() as w:
        client = await (await w.client()).open()
        client.send(ccr(destination_host=host, destination_realm="Example.Net"))
        assert isinstance(await client.message(), CreditControlAnswer)


async def test_behind_a_relay() -> None:
    async with world() as w:
        client = await (await w.client()).open("relay.example.net")
        client.send(ccr(origin_host="pgw.far.net", origin_realm="far.net", route_record=("pgw.far.net",)))
        assert isinstance(await client.message(), CreditControlAnswer)


@pytest.mark.parametrize("length", [0, 19, 65_540, 0xFFFFFF])
async def test_an_unusable_length_ends_the_connection_after_what_came_before(length: int) -> None:
    async with world() as w:
        client = await (await w.client()).open()
        client.send(ccr(0), changed(ccr(1), 1, length.to_bytes(3, "big")))
        assert isinstance(await client.message(), CreditControlAnswer)
        await client.closed()


async def test_a_length_that_can_be_skipped_does_not() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        odd = changed(ccr(0) + b"\0", 1, (len(ccr(0)) + 1).to_bytes(3, "big"))
        client.send(odd, ccr(1))
        assert ResultCode.INVALID_MESSAGE_LENGTH.to_bytes(4, "big") in await client.frame()
        assert isinstance(await client.message(), CreditControlAnswer)


async def test_session_termination_is_taken_note_of() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        message = SessionTerminationRequest(
            session_id="s", origin_host="pgw", origin_realm="example.net", destination_realm="example.net",
            auth_application_id=4, termination_cause=1,
        )  # fmt: skip
        client.send(message.encode(hop_by_hop=1, end_to_end=1))
        assert ResultCode.SUCCESS.to_bytes(4, "big") in await client.frame()


async def test_a_fault_of_ours_is_answered_and_counted() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        w.stub.raises = RuntimeError("bug")
        client.send(ccr(0))
        answer = await client.message()
        assert isinstance(answer, CreditControlAnswer)
        assert answer.result_code == ResultCode.UNABLE_TO_COMPLY
        assert w.count("ocs_invariant_violations_total", "exception") == 1
        w.stub.raises = None
        client.send(ccr(1))
        assert isinstance(await client.message(), CreditControlAnswer)
        assert w.admission.in_flight == 0


async def test_silence_when_the_fate_is_unknown() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        w.stub.answer = None
        client.send(ccr(0), dwr())
        assert isinstance(await client.message(), DeviceWatchdogAnswer)
        assert w.count("ocs_requests_unanswered_total", "diameter", "fate unknown") == 1
        assert w.admission.in_flight == 0


async def test_a_store_that_did_not_take_it() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        w.stub.answer = Busy("no pass")
        client.send(ccr(0))
        answer = await client.message()
        assert isinstance(answer, ErrorAnswer)
        assert answer.result_code == ResultCode.TOO_BUSY
        assert w.count("ocs_requests_total", "diameter", "CCR", "UPDATE", "3004") == 1


# ---- load


async def test_beyond_the_bound_it_is_too_busy_at_once() -> None:
    async with world() as w:
        w.admission.in_flight_max = 5
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(*(ccr(number) for number in range(8)), dwr())
        answers = [await client.message() for _ in range(4)]
        assert [type(answer) for answer in answers[:3]] == [ErrorAnswer] * 3
        assert {answer.result_code for answer in answers[:3] if isinstance(answer, ErrorAnswer)} == {
            ResultCode.TOO_BUSY
        }
        assert isinstance(answers[3], DeviceWatchdogAnswer)  # a full server is not a dead one
        for pending in w.stub.waiting:
            pending.resolve(None)
        assert [type(await client.message()) for _ in range(5)] == [CreditControlAnswer] * 5
        assert w.admission.in_flight == 0


async def test_one_peer_cannot_take_everything() -> None:
    async with world() as w:
        w.admission.peer_in_flight_max = 2
        w.stub.hold = True
        greedy, modest = await (await w.client()).open("a.net"), await (await w.client()).open("b.net")
        greedy.send(*(ccr(number) for number in range(5)))
        for _ in range(3):
            assert isinstance(await greedy.message(), ErrorAnswer)
        modest.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 3)


async def test_who_does_not_read_is_not_read_from() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        w.admission.in_flight_max = 10**9
        request = ccr(0)
        sent = 0
        try:
            async with asyncio.timeout(3):
                while sent < 40_000_000:
                    client.send(request * 500)
                    sent += len(request) * 500
                    await client.writer.drain()
        except TimeoutError:
            pass
        link = w.links[0]
        assert sent < 40_000_000, "we took it all"
        transport: Any = link._transport
        assert transport.get_write_buffer_size() < 8_000_000  # what one turn of libuv read
        served = len(w.stub.requests)
        answers = 0
        while answers < served:
            assert isinstance(await client.message(), CreditControlAnswer)
            answers += 1
        client.end()


# ---- the second connection of a peer


async def test_a_client_that_crashed_comes_back_at_once() -> None:
    async with world(nodes=2) as w:
        old = await (await w.client()).open("one.example.net")
        w.next_node = 1  # the new one lands on another worker
        new = await w.client()
        new.send(cer("one.example.net"), ccr(0))
        assert isinstance(await old.message(), DeviceWatchdogRequest)  # to which it says nothing
        assert isinstance(await new.message(timeout_s=4), CapabilitiesExchangeAnswer)
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
        assert isinstance(await client.message(timeout_s=5), DeviceWatchdogRequest)


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
        async with asyncio.timeout(1):
            await w.nodes[0].drain(0.1)


# ---- we connect


async def test_we_dial() -> None:
    heard: asyncio.Queue[Client] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: heard.put_nowait(Client(reader, writer)), "127.0.0.1", 0)
    async with world() as w:
        node: Node = w.nodes[0]
        node.dial("127.0.0.1", server.sockets[0].getsockname()[1], "dra.example.net")
        dra = await heard.get()
        request = await dra.message()
        answer = CapabilitiesExchangeAnswer(
            result_code=2001, origin_host="dra.example.net", origin_realm="example.net", vendor_id=0,
            product_name="dra", auth_application_id=(0xFFFFFFFF,),
        )  # fmt: skip
        dra.send(answer.answer(request), ccr(0))
        assert isinstance(await dra.message(), CreditControlAnswer)
        assert w.count("ocs_peers_up", "diameter") == 1
        await dra.gone()
    server.close()
