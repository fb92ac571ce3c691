"""Where connections come in, on the whole server."""

import pytest

from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from tests.ocs.net.world import OctetPeer, ccr
from tests.ocs.processes.test_supervisor import server
from tests.ocs.running import RunningServer

__all__ = ["server"]  # the fixture

pytestmark = pytest.mark.serial


async def test_idle_connections_keep_no_peer_out(server: RunningServer) -> None:
    """`1,100 idle connections to the Diameter port keep real peers out`"""
    address = server.address("diameter")
    peer = await OctetPeer.connect(address[1])
    await peer.open("first.example.net")
    idle = [await OctetPeer.connect(address[1]) for _ in range(300)]
    late = await OctetPeer.connect(address[1])
    await late.open("late.example.net")
    await idle[0].closed(timeout_s=20)  # long before its time: it made room
    peer.send(ccr(0, "first.example.net;1;1"))
    assert isinstance(await peer.message(timeout_s=20), CreditControlAnswer)
    for one in (*idle, peer, late):
        await one.gone()
