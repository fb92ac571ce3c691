"""Connections of peers: capabilities, disconnecting, elections, and what the field notes demand of them."""

import pytest

from protocol.diameter.dictionary.base import (
    RELAY,
    CapabilitiesExchangeAnswer,
    DeviceWatchdogAnswer,
    DisconnectCause,
    DisconnectPeerRequest,
    ErrorAnswer,
)
from protocol.diameter.dictionary.credit_control import ReAuthRequest
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.peer import (
    Close,
    DeliverAnswer,
    DeliverRequest,
    Dropped,
    OriginStates,
    PeerDown,
    PeerLeaving,
    PeerUp,
    Restarted,
    Send,
    Suspect,
)
from protocol.diameter.peer_machine import TABLE, WATCHDOG, PeerEvent, PeerState, Sign, Watchdog
from tests.protocol.messages import CCR_I, CCR_U, answer_to, avp, ccr, cer, dpr, dwr, message
from tests.protocol.peers import TW, World, sent, word, words

VSAI = avp(260, [avp(266, 10415), avp(258, 4)])
RAR = ReAuthRequest(
    session_id="s",
    origin_host="ocs.example.net",
    origin_realm="example.net",
    destination_realm="example.com",
    destination_host="gw.example.com",
    auth_application_id=4,
    re_auth_request_type=0,  # type: ignore[arg-type]
)


# ---- capabilities


CERS: list[tuple[str, bytes]] = [
    ("plain", cer()),
    ("in a vendor-specific application only", cer(VSAI, apps=())),
    ("a relay", cer(apps=(RELAY,))),
    ("without Host-IP-Address", cer(address=False)),
    ("with in-band security as an option", cer(avp(299, 0), avp(299, 1))),
    (
        "several vendors and other applications",
        cer(avp(265, 10415), avp(265, 0), apps=(16777238, 4)),
    ),
    ("an accounting application beside ours", cer(avp(259, 3))),
    ("VSAI with both ids", cer(avp(260, [avp(266, 10415), avp(258, 4), avp(259, 3)]), apps=())),
    ("VSAI without its vendor", cer(avp(260, [avp(258, 4)]), apps=())),
    ("Origin-State-Id and Firmware-Revision", cer(avp(278, 5), avp(267, 1, flags=0))),
    ("unknown AVPs without M", cer(avp(999_998, b"x", flags=0))),
]


@pytest.mark.parametrize(("what", "request_"), CERS, ids=[row[0] for row in CERS])
def test_good_cer(what: str, request_: bytes) -> None:
    world = World()
    connection = world.table.accepted(world.now)
    cea_sent, up = connection.received(request_, world.now)
    cea = sent(cea_sent)
    assert isinstance(cea, CapabilitiesExchangeAnswer)
    assert (cea.result_code, cea.hop_by_hop, cea.end_to_end, cea.flags) == (2001, 1, 2, 0)
    assert cea.auth_application_id == (4,)  # both forms: some clients look at one only
    assert [(v.vendor_id, v.auth_application_id) for v in cea.vendor_specific_application_id] == [(10415, 4)]
    assert (cea.origin_host, cea.origin_state_id, cea.supported_vendor_id) == ("ocs.example.net", 77, (10415,))
    assert isinstance(up, PeerUp)
    assert up.peer.applications == {4}
    assert up.peer.is_relay == (what == "a relay")
    assert connection.is_usable
    assert world.table.usable("GW.example.com") == [connection]


BAD_CERS: list[tuple[str, bytes, bool, int]] = [
    ("no common application", cer(apps=(16777238,)), True, 5010),
    ("no application at all", cer(apps=()), True, 5010),
    ("only in-band security", cer(avp(299, 1)), True, 5017),
    ("unknown peer", cer(), False, 3010),
    ("unknown AVP with M", cer(avp(999_998, b"x")), True, 5001),
    ("VSAI without an application", cer(avp(260, [avp(266, 1)])), True, 5005),
    ("two names", cer(avp(269, "again", flags=0)), True, 5009),
]


@pytest.mark.parametrize(("what", "request_", "known", "code"), BAD_CERS, ids=[row[0] for row in BAD_CERS])
def test_bad_cer(what: str, request_: bytes, known: bool, code: int) -> None:
    world = World(known=known)
    connection = world.table.accepted(world.now)
    refused, close = connection.received(request_, world.now)
    answer = sent(refused)
    assert isinstance(answer, ErrorAnswer if code == 3010 else CapabilitiesExchangeAnswer)
    assert answer.result_code == code
    if code in (5010, 5017):
        assert isinstance(answer, CapabilitiesExchangeAnswer)
        assert answer.auth_application_id == (4,)
    assert isinstance(close, Close)
    assert words(connection.received(CCR_I, world.now)) == ["Dropped"]
    assert connection.lost(world.now) == []
    assert not world.table.connections


@pytest.mark.parametrize("first", [CCR_I, dwr(), dpr(), answer_to(CCR_I), answer_to(cer()), message(9999, [])])
def test_the_first_message_is_a_cer_or_the_end(first: bytes) -> None:
    world = World()
    connection = world.table.accepted(world.now)
    assert words(connection.received(first, world.now)) == ["Close"]
    assert not world.table.connections


def test_silence_instead_of_a_cer() -> None:
    world = World()
    world.table.accepted(world.now)
    assert world.wait(9_999) == []
    assert world.wait(1) == ["Close"]
    assert world.table.next_tick_ms is None


def test_requests_in_the_segment_of_the_cer_are_served_in_order() -> None:
    world = World()
    connection = world.table.accepted(world.now)
    said = [
        action
        for frame in FrameBuffer().feed(cer() + CCR_I + dwr() + CCR_U)
        for action in connection.received(frame, world.now)
    ]
    assert words(said) == [
        "Send CapabilitiesExchangeAnswer 2001",
        "PeerUp",
        "DeliverRequest",
        "Send DeviceWatchdogAnswer 2001",
        "DeliverRequest",
    ]
    assert [a.frame for a in said if isinstance(a, DeliverRequest)] == [CCR_I, CCR_U]


def test_a_second_cer_on_an_open_connection() -> None:
    connection = World().open()
    assert words(connection.received(cer(), 1_000)) == ["Send CapabilitiesExchangeAnswer 5012"]
    assert connection.is_usable


# ---- open


def test_watchdog_requests_are_answered_at_once() -> None:
    world = World()
    connection = world.open()
    (said,) = connection.received(dwr("gw.example.com", avp(278, 1)), world.now)
    dwa = sent(said)
    assert isinstance(dwa, DeviceWatchdogAnswer)
    assert (dwa.result_code, dwa.origin_state_id) == (2001, 77)
    assert words(connection.received(dwr("x", avp(999_998, b"")), world.now)) == ["Send DeviceWatchdogAnswer 5001"]


def test_our_requests_and_their_answers() -> None:
    world = World()
    connection = world.open()
    first, second = (connection.send_request(RAR, token, world.now)[0] for token in ("one", "two"))
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    assert sent(first).hop_by_hop != sent(second).hop_by_hop
    assert sent(first).end_to_end != sent(second).end_to_end
    assert sent(first).is_proxiable
    (answer,) = connection.received(answer_to(second.octets, avp(263, "s"), result=2002), world.now)
    assert isinstance(answer, DeliverAnswer)
    assert answer.token == "two"
    again = connection.received(answer_to(second.octets), world.now)
    assert words(again) == ["Dropped"]  # RFC 6733 section 6.2.1
    connection.forget("one")
    assert words(connection.received(answer_to(first.octets), world.now)) == ["Dropped"]


def test_answers_that_never_came_are_given_back() -> None:
    world = World()
    connection = world.open()
    connection.send_request(RAR, "a", world.now)
    connection.send_request(RAR, "b", world.now)
    (down,) = connection.lost(world.now)
    assert isinstance(down, PeerDown)
    assert down.unanswered == ("a", "b")
    with pytest.raises(ValueError, match="takes no request"):
        connection.send_request(RAR, "c", world.now)


def test_a_restart_is_noticed_by_its_origin_state() -> None:
    world = World()
    world.open(host="a").lost(world.now)
    first = world.table.accepted(world.now)
    assert words(first.received(cer(avp(278, 5), host="a"), world.now))[2:] == []
    assert words(first.received(dwr("a", avp(278, 5)), world.now))[1:] == []
    first.lost(world.now)
    second = world.table.accepted(world.now)
    *_, restarted = second.received(cer(avp(278, 6), host="A"), world.now)
    assert isinstance(restarted, Restarted)
    assert restarted.origin_state_id == 6
    assert words(second.received(dwr("a", avp(278, 4)), world.now))[1:] == []  # stale


def test_origin_states_are_bounded() -> None:
    states = OriginStates()
    for number in range(10_000):
        assert not states.rose(f"h{number}", 1)
    assert states.rose("h9999", 2)
    assert not states.rose("h9999", 0)
    assert not states.rose("h0", 2)  # long forgotten


# ---- leaving


def test_the_peer_leaves() -> None:
    world = World()
    connection = world.open()
    connection.send_request(RAR, "a", world.now)
    dpa, leaving = connection.received(dpr(1), world.now)
    assert word(dpa) == "Send DisconnectPeerAnswer 2001"
    assert leaving == PeerLeaving(connection, DisconnectCause.BUSY)
    assert not connection.is_usable
    assert words(connection.received(ccr(), world.now)) == ["DeliverRequest"]  # it crossed our answer
    assert words(connection.lost(world.now)) == ["PeerDown"]


def test_the_peer_says_it_leaves_and_stays() -> None:
    world = World()
    connection = world.open()
    connection.received(dpr(), world.now)
    assert world.wait(4_999) == []
    assert world.wait(1) == ["Close", "PeerDown"]


def test_we_stop() -> None:
    world = World()
    connection, waiting = world.open(), world.table.accepted(world.now)
    said = world.table.stop(DisconnectCause.REBOOTING, world.now)
    assert sorted(words(said)) == ["Close", "Send DisconnectPeerRequest"]
    assert waiting not in world.table.connections
    (disconnect,) = [action for action in said if isinstance(action, Send)]
    request = sent(disconnect)
    assert isinstance(request, DisconnectPeerRequest)
    assert request.disconnect_cause is DisconnectCause.REBOOTING
    assert words(connection.received(ccr(), world.now)) == ["DeliverRequest"]
    assert words(connection.received(dwr(), world.now)) == ["Send DeviceWatchdogAnswer 2001"]
    assert words(connection.received(answer_to(disconnect.octets), world.now)) == ["Close", "PeerDown"]


def test_both_leave_at_once_and_a_dpa_that_never_comes() -> None:
    world = World()
    connection = world.open()
    connection.stop(DisconnectCause.BUSY, world.now)
    assert words(connection.received(dpr(), world.now)) == ["Send DisconnectPeerAnswer 2001", "PeerLeaving"]
    assert connection.stop(DisconnectCause.BUSY, world.now) == []
    assert world.wait(5_000) == ["Close", "PeerDown"]


def test_it_may_close_without_a_word() -> None:
    world = World()
    assert words(world.open().lost(world.now)) == ["PeerDown"]


# ---- the watchdog


def test_quiet_dwr_suspect_down() -> None:
    world = World()
    connection = world.open()
    connection.send_request(RAR, "a", world.now)
    assert world.wait(TW - 1) == []
    assert world.wait(1) == ["Send DeviceWatchdogRequest"]
    assert world.table.usable("gw.example.com") == [connection]
    assert world.table.tick(world.now + TW) == [Suspect(connection, ("a",))]
    assert world.table.usable("gw.example.com") == []
    world.now += TW
    assert world.wait(TW) == ["Close", "PeerDown"]


def test_any_message_restarts_the_watchdog_and_a_dwa_answers_it() -> None:
    world = World()
    connection = world.open()
    world.wait(20_000)
    assert words(connection.received(ccr(), world.now)) == ["DeliverRequest"]
    assert world.wait(TW - 1) == []
    (dwr_sent,) = world.table.tick(world.now + 1)
    world.now += 1
    assert isinstance(dwr_sent, Send)
    assert connection.received(answer_to(dwr_sent.octets), world.now) == []
    assert connection.watch.value == "okay"
    assert world.wait(TW) == ["Send DeviceWatchdogRequest"]


def test_recovery_from_suspicion() -> None:
    world = World()
    connection = world.open()
    world.wait(2 * TW)
    assert connection.watch.value == "suspect"
    assert words(connection.received(ccr(), world.now)) == ["Recovered", "DeliverRequest"]
    assert connection.is_usable
    assert connection.watch.value == "probing"  # its DWR is still unanswered


def test_jitter_is_asked_for_each_time() -> None:
    world = World()
    world.table.node.jitter_ms = lambda: 1_500
    world.open()
    assert world.table.next_tick_ms == world.now + TW + 1_500


# ---- the tables themselves


def test_every_state_can_end() -> None:
    for state in PeerState:
        assert (state, PeerEvent.LOST) in TABLE
        if state is not PeerState.CLOSED:
            assert TABLE[state, PeerEvent.LOST] == ((), PeerState.CLOSED)
            assert TABLE[state, PeerEvent.TIMEOUT][1] is PeerState.CLOSED
            assert (state, PeerEvent.STOP) in TABLE


def test_the_watchdog_knows_what_to_do_in_every_case() -> None:
    missing = {(watch, sign) for watch in Watchdog for sign in Sign} - set(WATCHDOG)
    third = {watch for watch, sign in missing if sign is Sign.THIRD_DWA}
    assert missing == {(watch, Sign.THIRD_DWA) for watch in third}
    assert third == set(Watchdog) - {Watchdog.REOPEN_PROBING}


@pytest.mark.parametrize("state", list(PeerState))
def test_no_frame_whatever_disturbs_a_state(state: PeerState) -> None:
    for frame in (cer(), dwr(), dpr(), ccr(), answer_to(cer()), answer_to(dwr()), message(9999, []), bytes(20)):
        world = World()
        connection = world.table.accepted(world.now)
        connection.received(cer(), world.now)
        connection.state = state
        connection._cer = cer()
        connection._plain = False
        for action in connection.received(frame, world.now):
            assert not isinstance(action, Dropped) or " while " in action.why or action.why == "answer to nothing"
