"""Messages longer than we read."""

from protocol.diameter.dictionary.base import DeviceWatchdogAnswer
from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from protocol.errors import ResultCode
from tests.ocs.net.world import ccr, dwr, until, world


async def test_a_request_that_is_too_long_is_refused_by_itself() -> None:
    """`A CCR of 78 kB closes the connection with all that is under way on it`"""
    async with world() as w:
        w.stub.hold = True
        client = await (await w.client()).open()
        client.send(ccr(0))
        await until(lambda: len(w.stub.waiting) == 1)
        long = ccr(1)
        long = long[:1] + (78_000).to_bytes(3, "big") + long[4:] + bytes(78_000 - len(long))
        client.send(long, dwr())
        refused = await client.message()
        assert isinstance(refused, CreditControlAnswer)
        assert (refused.result_code, refused.session_id) == (ResultCode.INVALID_MESSAGE_LENGTH, "pgw.example.net;1;1")
        assert refused.hop_by_hop == 101
        assert isinstance(await client.message(), DeviceWatchdogAnswer)
        w.stub.waiting[0].resolve(None)
        assert isinstance(await client.message(), CreditControlAnswer)  # what was under way


async def test_a_message_without_end_closes_the_connection() -> None:
    async with world() as w:
        client = await (await w.client()).open()
        client.send(b"\x01\xff\xff\xff" + ccr(1)[4:])
        await client.closed()
