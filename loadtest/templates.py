"""Requests encoded once, with places for what changes: one `%` and a few packed numbers per CCR.

A template is a message encoded once by `protocol` with marks in the places that change; the marks are then looked
for. So what we send is what the dictionary says, and a mark that moved or stands there twice is found at start.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

from loadtest.scenario import CONTEXTS, Play, ScenarioLine
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlRequest,
    MultipleServicesCreditControl,
    MultipleServicesIndicator,
    RequestedAction,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.tgpp_charging import (
    ImsInformation,
    PsInformation,
    ServiceInformation,
    SmsInformation,
)
from protocol.diameter.header import RETRANSMITTED
from protocol.diameter.types import HostAddress

G = TypeVar("G", UsedServiceUnit, RequestedServiceUnit)

APPLICATION = 4
U32, U64 = Struct(">I").pack, Struct(">Q").pack
NTP = 2_208_988_800  # Unix seconds on the wire count from 1900 (RFC 6733 section 4.3.1)
WIDTH: dict[str, Callable[[int], bytes]] = {"octets": U64, "seconds": U32, "units": U64}
FIELD = {"octets": "cc_total_octets", "seconds": "cc_time", "units": "cc_service_specific_units"}

MSISDN, IMSI = "999999999999", "888888888888888"  # marks, and the lengths every identity of ours has
NUMBER, STAMP, IDS = 0xF1F2F3F4, 0x71727374, 0xE1E2E3E4E5E6E7E8


def session_id(host: str, start: int, count: int) -> str:
    """RFC 6733 section 8.8, always of the same length."""
    return f"{host};{start:010d};{count:010d}"


class Template:
    """`fill(ids, session, number, stamp, subscriber, used)` is a whole CCR."""

    __slots__ = ("_form", "_packs")

    def __init__(self, play: Play, phase: CcRequestType, *, host: str, realm: str, destination: str) -> None:
        marks = [U64(IDS), session_id(host, 1, 1).encode(), U32(NUMBER), U32(STAMP + NTP & 0xFFFFFFFF)]
        marks += [MSISDN.encode(), IMSI.encode()]
        used = [0xA1B2C3D4 + index for index in range(len(play.lines))]
        reports = phase in (CcRequestType.UPDATE_REQUEST, CcRequestType.TERMINATION_REQUEST)
        self._packs = tuple(WIDTH[line.unit] for line in play.lines) if reports else ()
        marks += [pack(value) for pack, value in zip(self._packs, used, strict=False)]
        request = _message(play, phase, used, host, realm, destination)
        rest = request.encode(hop_by_hop=IDS >> 32, end_to_end=IDS & 0xFFFFFFFF)
        form = b""
        for mark in marks:
            if rest.count(mark) != 1:
                raise ValueError(f"mark {mark!r} is not exactly once in what is left of the template")
            before, rest = rest.split(mark)
            form += before.replace(b"%", b"%%") + b"%b"
        self._form = form + rest.replace(b"%", b"%%")

    def fill(
        self, ids: bytes, session: bytes, number: int, stamp: bytes, subscriber: tuple[bytes, bytes], used: list[int]
    ) -> bytes:
        """`ids`: Hop-by-Hop and End-to-End Identifier; `stamp`: Event-Timestamp; `used`: one number per line."""
        packs = self._packs
        if len(packs) == 1:
            return self._form % (ids, session, U32(number), stamp, *subscriber, packs[0](used[0]))
        values = [pack(units) for pack, units in zip(packs, used, strict=False)]
        return self._form % (ids, session, U32(number), stamp, *subscriber, *values)


def ids(number: int) -> bytes:
    """Both identifiers of a request on its first way: what is unique to the client is unique to the connection."""
    return U32(number) * 2


def stamp(unix_s: float) -> bytes:
    return U32(int(unix_s) + NTP & 0xFFFFFFFF)


def again(frame: bytes, hop_by_hop: int) -> bytes:
    """The same request with the T bit, for another connection or another try: same End-to-End Identifier."""
    return b"%b%c%b%b%b" % (frame[:4], frame[4] | RETRANSMITTED, frame[5:12], U32(hop_by_hop), frame[16:])


def _message(
    play: Play, phase: CcRequestType, used: list[int], host: str, realm: str, destination: str
) -> CreditControlRequest:
    asks = phase is not CcRequestType.TERMINATION_REQUEST
    reports = phase in (CcRequestType.UPDATE_REQUEST, CcRequestType.TERMINATION_REQUEST)
    asked = [_asked(line) if asks else None for line in play.lines]
    spent = [(_units(UsedServiceUnit, line, n),) if reports else () for line, n in zip(play.lines, used, strict=True)]
    single = play.lines[0].rating_group is None
    lines = tuple(
        MultipleServicesCreditControl(requested_service_unit=a, used_service_unit=s, rating_group=line.rating_group)
        for line, a, s in zip(play.lines, asked, spent, strict=True)
    )
    return CreditControlRequest(
        session_id=session_id(host, 1, 1),
        origin_host=host,
        origin_realm=realm,
        destination_realm=destination,
        auth_application_id=APPLICATION,
        service_context_id=CONTEXTS[play.service],
        cc_request_type=phase,
        cc_request_number=NUMBER,
        event_timestamp=STAMP,
        subscription_id=(
            SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data=MSISDN),
            SubscriptionId(subscription_id_type=SubscriptionIdType.END_USER_IMSI, subscription_id_data=IMSI),
        ),
        termination_cause=None if asks else 1,  # DIAMETER_LOGOUT
        requested_action=RequestedAction.DIRECT_DEBITING if phase is CcRequestType.EVENT_REQUEST else None,
        multiple_services_indicator=None if single else MultipleServicesIndicator.MULTIPLE_SERVICES_SUPPORTED,
        requested_service_unit=asked[0] if single else None,
        used_service_unit=spent[0] if single else (),
        multiple_services_credit_control=() if single else lines,
        service_information=_about(play),
    )


def _asked(line: ScenarioLine) -> RequestedServiceUnit:
    return RequestedServiceUnit() if line.ask is None else _units(RequestedServiceUnit, line, line.ask)


def _units(group: type[G], line: ScenarioLine, amount: int) -> G:
    members: dict[str, Any] = {FIELD[line.unit]: amount}
    return group(**members)


def _about(play: Play) -> ServiceInformation:
    """What a gateway of that kind would say; the size of its messages is that of real ones."""
    match play.service:
        case "data":
            where = PsInformation(
                tgpp_charging_id=b"\x00\x00\x00\x2a",
                sgsn_address=(HostAddress.of("192.0.2.10"),),
                ggsn_address=(HostAddress.of("192.0.2.20"),),
                called_station_id="internet",
                tgpp_sgsn_mcc_mnc="00101",
                tgpp_rat_type=b"\x06",
            )
            return ServiceInformation(ps_information=where)
        case "voice":
            call = ImsInformation(node_functionality=6, called_party_address="sip:+493012345678@example.net")
            return ServiceInformation(ims_information=call)
        case "sms":
            return ServiceInformation(sms_information=SmsInformation(sm_message_type=0, number_of_messages_sent=1))
