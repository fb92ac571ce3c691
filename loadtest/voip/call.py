"""One prepaid call: its two steps of authorisation, its two legs, and what it has come to cost by our own arithmetic.

    account -> destination -> both legs Start -> both legs Stop

A call costs its longest charged leg whose Stop was acknowledged, in whole seconds; a begun second counts only as the
first.
"""

import random
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from loadtest.pricing import LoadPrice
from loadtest.voip.scenario import VoipScenario
from protocol.radius.authenticator import signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.cisco import (
    H323_CALL_ORIGIN,
    H323_CALL_TYPE,
    H323_CONF_ID,
    H323_CONNECT_TIME,
    H323_DISCONNECT_CAUSE,
    H323_DISCONNECT_TIME,
    H323_SETUP_TIME,
)
from protocol.radius.dictionary.standard import (
    ACCT_SESSION_ID,
    ACCT_STATUS_TYPE,
    CALLED_STATION_ID,
    CALLING_STATION_ID,
    NAS_IDENTIFIER,
    USER_NAME,
    USER_PASSWORD,
)
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet

ORIGINS = ("originate", "answer")
RINGS_S = 4


class CallStage(IntEnum):
    ACCOUNT = 0
    DESTINATION = 1
    BEGIN = 2
    END = 3
    OVER = 4
    """Nothing more is sent; answers may be outstanding."""


class Caller(NamedTuple):
    place: int
    account: int
    """Index of the account that pays."""
    user: str
    pin: bytes


def caller(index: int, shared_by: int = 1) -> Caller:
    """Number `index` of those that `provision.py` makes."""
    return Caller(index, index // shared_by, f"voip-{index:07d}", f"{index * 7919 % 10**8:08d}".encode())


class CallLeg(NamedTuple):
    gateway: int
    origin: str
    """h323-call-origin."""
    id: str
    """Acct-Session-Id."""


class VoipCall:
    """From its first packet to the last answer."""

    __slots__ = (
        *("caller", "conference", "counted_s", "left", "legs", "length_s", "late", "outstanding", "owed", "price"),
        *("announced_s", "ended", "sent_s", "stage", "wrong_pin"),
    )

    def __init__(self, scenario: VoipScenario, price: LoadPrice, who: Caller, rng: random.Random) -> None:
        self.caller, self.price = who, price
        self.conference = " ".join(f"{rng.getrandbits(32):08X}" for _ in range(4))
        self.legs = [
            CallLeg(rng.randrange(scenario.gateways), origin, f"{rng.getrandbits(48):012x}") for origin in ORIGINS
        ]
        rng.shuffle(self.legs)
        self.wrong_pin = rng.random() < scenario.wrong_pins
        self.length_s = 0.0 if rng.random() < scenario.unanswered else rng.uniform(*scenario.length_s)
        self.announced_s = rng.uniform(0, scenario.announced_s) if self.length_s else 0.0
        self.ended: datetime | None = None
        self.stage = CallStage.ACCOUNT
        self.left: list[CallLeg] = self.legs[:1]
        """Whose packet of this stage is still to be sent."""
        self.outstanding = 0
        """Packets of this stage without an answer, ..."""
        self.late = 0
        """... and those that the call does not wait for."""
        self.sent_s = self.counted_s = self.owed = 0

    def may_last(self, seconds: int) -> None:
        """What the server said: the call is cut there."""
        self.length_s = min(self.length_s, float(seconds))
        self.announced_s = min(self.announced_s, seconds - self.length_s)

    def next_stage(self) -> None:
        self.stage = CallStage(self.stage + 1)
        both = self.stage in (CallStage.BEGIN, CallStage.END)
        self.left = list(self.legs) if both else self.legs[:1] if self.stage < CallStage.OVER else []

    def connected_ms(self, leg: CallLeg) -> int:
        return int(1_000 * (self.length_s + (self.announced_s if leg.origin == "answer" else 0.0)))

    def acknowledged(self, seconds: int) -> int:
        """Micro-units that became due with the answer to the Stop of a charged leg."""
        self.counted_s = max(self.counted_s, seconds)
        before, self.owed = self.owed, self.price.cost(self.counted_s)
        return self.owed - before

    def in_doubt(self) -> int:
        """What was sent and never acknowledged may have cost so much."""
        return self.price.cost(max(self.sent_s, self.counted_s)) - self.owed


def counted_s(connected_ms: int) -> int:
    return max(connected_ms // 1_000, 1) if connected_ms else 0


def _written(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 1_000:03d} UTC {at:%a %b %d %Y}"


def _common(packet: Packet, call: VoipCall, leg: CallLeg) -> Packet:
    place = call.caller.place
    packet.add(USER_NAME, call.caller.user).add(NAS_IDENTIFIER, gateway_name(leg.gateway))
    return packet.add(CALLING_STATION_ID, f"4930{place:08d}")


def _called(packet: Packet, call: VoipCall) -> Packet:
    packet.add(CALLED_STATION_ID, f"4420{call.caller.place:08d}")
    return packet.add(H323_CONF_ID, f"h323-conf-id={call.conference}")


def gateway_name(gateway: int) -> str:
    return f"gw{gateway + 1}.example.net"


def access_packet(call: VoipCall, leg: CallLeg, identifier: int, authenticator: bytes, secret: bytes) -> bytes:
    """Who calls; in the second step also where to."""
    packet = _common(Packet(PacketCode.ACCESS_REQUEST, identifier, authenticator), call, leg)
    packet.add(USER_PASSWORD, hide_password(b"0" if call.wrong_pin else call.caller.pin, secret, authenticator))
    if call.stage is CallStage.DESTINATION:
        _called(packet, call)
    return signed_request(packet, secret)


def leg_packet(call: VoipCall, leg: CallLeg, identifier: int, secret: bytes) -> bytes:
    """Start or Stop of a leg, by the stage of its call."""
    packet = _called(_common(Packet(PacketCode.ACCOUNTING_REQUEST, identifier), call, leg), call)
    ends = call.stage is CallStage.END
    packet.add(ACCT_STATUS_TYPE, int(AcctStatusType.STOP if ends else AcctStatusType.START))
    packet.add(ACCT_SESSION_ID, leg.id)
    packet.add(H323_CALL_ORIGIN, f"h323-call-origin={leg.origin}").add(H323_CALL_TYPE, "h323-call-type=VoIP")
    ended = call.ended = call.ended or datetime.now(UTC)
    connected_ms = call.connected_ms(leg)
    connect = ended - timedelta(milliseconds=connected_ms)
    packet.add(H323_SETUP_TIME, f"h323-setup-time={_written(connect - timedelta(seconds=RINGS_S))}")
    if ends:
        if connected_ms:
            packet.add(H323_CONNECT_TIME, f"h323-connect-time={_written(connect)}")
        packet.add(H323_DISCONNECT_TIME, f"h323-disconnect-time={_written(ended)}")
        packet.add(H323_DISCONNECT_CAUSE, "h323-disconnect-cause=10")
    return signed_request(packet, secret, sign=False)
