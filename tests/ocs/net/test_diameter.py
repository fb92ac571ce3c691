"""The skin, from the outside: octets in, octets out, over real sockets, with a stub where charging would be."""

import asyncio
import socket
from typing import Any

import pytest

from ocs.charging.request import Busy
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    DeviceWatchdogAnswer,
    DisconnectPeerAnswer,
    ErrorAnswer,
    SessionTerminationRequest,
)
from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from protocol.diameter.header import ERROR, PROXIABLE, REQUEST, Header
from protocol.errors import ResultCode
from tests.ocs.net.world import LOCAL, ccr, cer, dpr, dwr, until, world


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
        await client.closed(timeout_s=30)


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


@pytest.mark.parametrize("length", [0, 19, 5_000_000, 0xFFFFFF])
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


# ---- a client that has said all it has to say


async def test_a_half_closed_client_gets_its_answers() -> None:
    """field-notes.md: a client may shut down its write side and wait for the answer. Then the connection ends."""
    async with world() as w:
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(*(ccr(number) for number in range(3)), dwr())
        client.writer.write_eof()
        assert isinstance(await client.message(), DeviceWatchdogAnswer)
        await until(lambda: len(w.stub.waiting) == 3)
        await until(lambda: not w.nodes[0].is_connected("pgw.example.net"))  # no RAR goes where nothing is heard
        for pending in (w.stub.waiting[1], w.stub.waiting[0], w.stub.waiting[2]):
            pending.resolve(None)
        numbers = [(await client.message()).cc_request_number for _ in range(3)]  # type: ignore[attr-defined]
        assert numbers == [1, 0, 2]
        await client.closed()
        await until(lambda: w.count("ocs_disconnects_total", "diameter", "closed by the peer") == 1)
        assert w.admission.in_flight == 0


async def test_a_client_that_says_everything_at_once_and_shuts_its_side() -> None:
    """The end comes while its CER is still being decided on."""
    async with world() as w:
        client = await w.client()
        client.send(cer(), ccr(0), ccr(1))
        client.writer.write_eof()
        assert isinstance(await client.message(), CapabilitiesExchangeAnswer)
        assert isinstance(await client.message(), CreditControlAnswer)
        assert isinstance(await client.message(), CreditControlAnswer)
        await client.closed()


@pytest.mark.parametrize("octets", [b"", ccr(0)[:30]])
async def test_a_half_closed_client_that_waits_for_nothing(octets: bytes) -> None:
    async with world() as w:
        client = await (await w.client()).open()
        client.send(octets)
        client.writer.write_eof()
        await client.closed()
        await until(lambda: w.count("ocs_peers_up", "diameter") == 0)


async def test_a_half_closed_client_waits_for_an_answer_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocs.net.diameter.connection.HALF_OPEN_S", 0.05)
    async with world() as w:
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(ccr(0))
        client.writer.write_eof()
        await client.closed()
        w.stub.waiting[0].resolve(None)
        assert w.admission.in_flight == 0


async def test_who_comes_back_is_not_kept_waiting_by_its_half_closed_connection() -> None:
    async with world() as w:
        w.stub.hold = True
        old = await (await w.client()).open("one.example.net")  # may have one connection
        old.send(ccr(0))
        old.writer.write_eof()
        await until(lambda: not w.nodes[0].is_connected("one.example.net"))
        async with asyncio.timeout(1):  # a probe that is silent takes two seconds
            await (await w.client()).open("one.example.net")
        w.stub.waiting[0].resolve(None)
        assert isinstance(await old.message(), CreditControlAnswer)


# ---- load


async def test_beyond_the_bound_it_is_too_busy_at_once() -> None:
    async with world() as w:
        w.admission.limit.now = w.admission.limit.most = 5
        w.admission.free_below = 4
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
        w.admission.peer_in_flight_max = w.admission.peer_free_below = 2
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
