"""Connections we dial, and what happens when a peer is connected twice."""

from typing import Any

import pytest

from protocol.diameter.dictionary.base import CapabilitiesExchangeRequest
from protocol.diameter.peer import Close, Send
from protocol.diameter.peer_machine import PeerState, is_elected
from tests.protocol.messages import CCR_I, answer_to, avp, ccr, cer, dpr, dwr
from tests.protocol.peers import LOCAL, TW, World, sent, words

# ---- we dial


def dial(world: World, host: str = "gw.example.com", *, reopened: bool = False) -> tuple[Any, Send]:
    connection = world.table.dial(host, world.now, reopened=reopened)
    (said,) = connection.connected(world.now)
    assert isinstance(said, Send)
    request = sent(said)
    assert isinstance(request, CapabilitiesExchangeRequest)
    assert (request.auth_application_id, request.origin_host) == ((4,), "ocs.example.net")
    return connection, said


def cea(request: Send, *, result: int = 2001, apps: tuple[int, ...] = (4,), host: str = "gw.example.com") -> bytes:
    body = [avp(257, bytes.fromhex("00017f000001")), avp(266, 1), avp(269, "x"), *(avp(258, a) for a in apps)]
    return answer_to(request.octets, *body, result=result, host=host)


def test_dial() -> None:
    world = World()
    connection, request = dial(world)
    assert words(connection.received(cea(request), world.now)) == ["PeerUp"]
    assert connection.is_usable
    assert words(connection.received(ccr(), world.now)) == ["DeliverRequest"]


@pytest.mark.parametrize(("result", "apps"), [(5010, (4,)), (2001, (16777238,)), (5012, ())])
def test_dial_and_be_refused(result: int, apps: tuple[int, ...]) -> None:
    world = World()
    connection, request = dial(world)
    (close,) = connection.received(cea(request, result=result, apps=apps), world.now)
    assert isinstance(close, Close)
    assert str(result if result != 2001 else 5010) in close.detail


def test_dial_and_be_refused_with_the_e_bit() -> None:
    world = World()
    connection, request = dial(world)
    answer = bytearray(answer_to(request.octets, result=3010))
    answer[4] = 0x20
    (close,) = connection.received(bytes(answer), world.now)
    assert isinstance(close, Close)
    assert "3010" in close.detail


@pytest.mark.parametrize("first", [ccr(), dwr(), cer(), dpr()])
def test_dial_and_hear_something_else(first: bytes) -> None:
    world = World()
    connection, _ = dial(world)
    assert words(connection.received(first, world.now)) == ["Close"]


def test_dial_in_vain() -> None:
    world = World()
    assert world.table.dial("gw", world.now).lost(world.now) == []
    world.table.dial("gw", world.now)
    assert world.wait(10_000) == ["Close"]
    dial(world)
    assert world.wait(10_000) == ["Close"]
    assert not world.table.connections


def test_a_peer_that_was_down_is_trusted_after_three_answers() -> None:
    world = World()
    connection, request = dial(world, reopened=True)
    said = connection.received(cea(request), world.now)
    assert words(said) == ["PeerUp", "Suspect", "Send DeviceWatchdogRequest"]
    for trusted in (False, False, True):
        assert not connection.is_usable
        assert words(connection.received(ccr(), world.now)) == ["DeliverRequest"]  # it may be charging data
        assert isinstance(said[-1], Send)
        assert words(connection.received(answer_to(said[-1].octets), world.now)) == (["Recovered"] if trusted else [])
        if not trusted:
            said = world.table.tick(world.now + TW)
            world.now += TW
            assert words(said) == ["Send DeviceWatchdogRequest"]
    assert connection.is_usable


def test_a_peer_that_was_down_and_is_silent_again() -> None:
    world = World()
    connection, request = dial(world, reopened=True)
    connection.received(cea(request), world.now)
    assert world.wait(TW) == []
    assert connection.watch.value == "reopened, late"
    assert world.wait(TW) == ["Close", "PeerDown"]


# ---- twice the same peer


def test_a_peer_that_crashed_may_come_back_at_once() -> None:
    world = World()
    old = world.open()
    new = world.table.accepted(world.now)
    assert words(new.received(cer(), world.now)) == ["Send DeviceWatchdogRequest"]
    assert new.state.value == "electing"
    assert new.received(CCR_I, world.now) == []  # kept
    assert new.received(dwr(), world.now) == []
    assert world.wait(1_999) == []
    said = world.table.tick(world.now + 1)
    assert words(said) == [
        "Close",
        "PeerDown",
        "Send CapabilitiesExchangeAnswer 2001",
        "PeerUp",
        "DeliverRequest",
        "Send DeviceWatchdogAnswer 2001",
    ]
    assert [action.connection for action in said] == [old, old, new, new, new, new]


def test_a_second_connection_yields_to_a_living_first() -> None:
    world = World()
    old = world.open()
    new = world.table.accepted(world.now)
    (challenge,) = new.received(cer(), world.now)
    assert challenge.connection is old
    assert isinstance(challenge, Send)
    (close,) = old.received(answer_to(challenge.octets), world.now)
    assert isinstance(close, Close)
    assert close.connection is new
    assert words(old.received(ccr(), world.now)) == ["DeliverRequest"]
    assert world.table.connections == {old}


def test_the_first_breaks_when_it_is_challenged() -> None:
    world = World()
    old, new = world.open(), world.table.accepted(world.now)
    new.received(cer(), world.now)
    assert words(old.lost(world.now)) == ["PeerDown", "Send CapabilitiesExchangeAnswer 2001", "PeerUp"]


def test_the_newcomer_goes_away_again() -> None:
    world = World()
    old, new = world.open(), world.table.accepted(world.now)
    new.received(cer(), world.now)
    assert new.lost(world.now) == []
    assert world.wait(3_000) == []
    assert words(old.received(ccr(), world.now)) == ["DeliverRequest"]


def test_a_third_connection_is_rejected() -> None:
    world = World()
    world.open()
    second, third = world.table.accepted(world.now), world.table.accepted(world.now)
    second.received(cer(), world.now)
    (close,) = third.received(cer(), world.now)
    assert isinstance(close, Close)
    assert close.connection is third
    assert second.state is PeerState.ELECTING


def test_several_connections_where_a_peer_may() -> None:
    world = World(several=True)
    both = {world.open(), world.open()}
    assert set(world.table.usable("gw.example.com")) == both


def test_a_peer_that_is_leaving_is_in_nobodys_way() -> None:
    world = World()
    world.open().received(dpr(), world.now)
    world.open()


@pytest.mark.parametrize(("host", "ours_wins"), [("alpha.example.com", True), ("zulu.example.com", False)])
def test_election(host: str, ours_wins: bool) -> None:
    """RFC 6733 section 5.6.4: the greater Origin-Host keeps the connection it accepted."""
    assert is_elected(LOCAL.origin_host, host.upper()) is ours_wins
    world = World()
    dialled, request = dial(world, host)
    accepted = world.table.accepted(world.now)
    said = words(accepted.received(cer(host=host), world.now))
    if ours_wins:
        assert said == ["Close", "Send CapabilitiesExchangeAnswer 2001", "PeerUp"]
        assert world.table.connections == {accepted}
    else:
        assert said == []
        assert words(dialled.received(cea(request, host=host), world.now)) == ["PeerUp", "Close"]
        assert world.table.connections == {dialled}


def test_election_before_the_dial_is_through() -> None:
    world = World()
    dialled = world.table.dial("alpha.example.com", world.now)
    accepted = world.table.accepted(world.now)
    assert accepted.received(cer(host="alpha.example.com"), world.now) == []
    said = words(dialled.connected(world.now))
    assert said == ["Send CapabilitiesExchangeRequest", "Close", "Send CapabilitiesExchangeAnswer 2001", "PeerUp"]


def test_the_dial_fails_or_hangs_while_the_peer_is_here() -> None:
    for hangs in (False, True):
        world = World()
        dialled = world.table.dial("zulu.example.com", world.now)
        accepted = world.table.accepted(world.now)
        assert accepted.received(cer(host="zulu.example.com"), world.now) == []
        said = world.wait(2_000) if hangs else words(dialled.lost(world.now))
        assert [w for w in said if w != "Close"] == ["Send CapabilitiesExchangeAnswer 2001", "PeerUp"]
        assert world.table.connections == {accepted}
