"""What a CCR says about the service used: the inputs of rating out of Service-Information (TS 32.299 section 7.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ocs.charging.identity import party
from ocs.charging.networks import in_text, is_network_provided, of_location
from ocs.charging.request import LineFacts
from protocol.diameter.avp import VENDOR
from protocol.diameter.dictionary.credit_control import CreditControlRequest, MultipleServicesCreditControl
from protocol.diameter.dictionary.credit_values import UserEquipmentInfo
from protocol.diameter.dictionary.nasreq import CALLED_STATION_ID
from protocol.diameter.dictionary.tgpp_charging import (
    TGPP_CHARGING_CHARACTERISTICS,
    TGPP_MS_TIMEZONE,
    TGPP_RAT_TYPE,
    TGPP_SGSN_MCC_MNC,
    TGPP_USER_LOCATION_INFO,
    ImsInformation,
    MmsInformation,
    PsInformation,
    ServiceInformation,
    SmsInformation,
)
from tariffs.inputs import Inputs

Facts = dict[str, Any]


def inputs_of(ccr: CreditControlRequest, service: str) -> Inputs:
    """What is told of the whole request. Some clients put at command level, or beside the groups of
    Service-Information, what belongs into them (field-notes.md): the groups win."""
    facts: Facts = {}
    if ccr.others:
        _loose(ccr.others, facts)
    if ccr.user_equipment_info is not None:
        _equipment(ccr.user_equipment_info, facts)
    information = ccr.service_information
    if information is not None:
        if information.others:
            _loose(information.others, facts)
        for field, read in READERS:
            part = getattr(information, field)
            if part is not None:
                read(part, facts)
    if "visited" not in facts and "location" in facts:
        visited = _visited_from(facts["location"])
        if visited:
            facts["visited"] = visited
    return Inputs(service, ccr.service_context_id, **facts)


def line_facts(groups: tuple[MultipleServicesCreditControl, ...]) -> LineFacts:
    """What Multiple-Services-Credit-Control groups tell of their own lines, by rating group and service identifier; of
    two groups of one line the last one counts."""
    found: dict[tuple[int | None, int | None], Facts] = {}
    for group in groups:
        if group.tgpp_rat_type is None and not group.others:
            continue
        facts: Facts = {}
        _loose(group.others, facts)
        if group.tgpp_rat_type:
            facts["rat_type"] = _rat_type(group.tgpp_rat_type)
        if facts:
            if "visited" not in facts and (visited := _visited_from(facts.get("location", ""))):
                facts["visited"] = visited
            services = group.service_identifier
            found.setdefault((group.rating_group, services[0] if services else None), {}).update(facts)
    return found


def _visited_from(location: str) -> str:
    try:
        return of_location(bytes.fromhex(location))
    except ValueError:
        return ""  # an access network in words


def _equipment(info: UserEquipmentInfo, facts: Facts) -> None:
    """Of a phone the digits of its IMEI(SV), of other equipment the hexadecimal digits of its address. They come as
    text, or as octets: of an IMEI two digits in each, the first one low (TS 29.061 section 16.4.7.2)."""
    value = info.user_equipment_info_value
    if not value:
        return
    plain = value.translate(None, b" .:-")
    if len(plain) >= TEXT_MIN and plain.isalnum():
        facts["equipment"] = plain.decode().lower()
    elif info.user_equipment_info_type:
        facts["equipment"] = value.hex()
    else:
        facts["equipment"] = "".join([f"{octet & 15:x}{octet >> 4:x}" for octet in value]).rstrip("f")


TEXT_MIN: Final = 12
"""An address in text has at least so many digits, in octets at most eight of these."""


def _rat_type(octets: bytes) -> int:
    return octets[-1]  # one octet by TS 29.061; some send it as four


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


LOOSE: dict[bytes, tuple[str, Callable[[bytes], int | str]]] = {
    CALLED_STATION_ID.key.to_bytes(8): ("apn", lambda octets: _text(octets).lower()),
    TGPP_RAT_TYPE.key.to_bytes(8): ("rat_type", _rat_type),
    TGPP_SGSN_MCC_MNC.key.to_bytes(8): ("visited", lambda octets: in_text(_text(octets)) or _text(octets)),
    TGPP_USER_LOCATION_INFO.key.to_bytes(8): ("location", bytes.hex),
    TGPP_CHARGING_CHARACTERISTICS.key.to_bytes(8): ("charging_characteristics", lambda octets: _text(octets).lower()),
    TGPP_MS_TIMEZONE.key.to_bytes(8): ("user_time_zone", bytes.hex),
}
"""By vendor and code: AVPs that PS-Information has, found elsewhere."""


def _loose(avps: Iterable[bytes], facts: Facts) -> None:
    """avps: whole, as `others` has them"""
    for avp in avps:
        at = 12 if avp[4] & VENDOR else 8
        known = LOOSE.get((avp[8:12] if at == 12 else bytes(4)) + avp[:4])
        data = avp[at : int.from_bytes(avp[5:8])]
        if known is not None and data:
            facts[known[0]] = known[1](data)


def _packet_switched(ps: PsInformation, facts: Facts) -> None:
    if ps.called_station_id is not None:
        facts["apn"] = ps.called_station_id.lower()
    if ps.tgpp_rat_type:
        facts["rat_type"] = _rat_type(ps.tgpp_rat_type)
    # The network that serves the user; some gateways only fill in the home side.
    if ps.tgpp_sgsn_mcc_mnc:
        facts["visited"] = in_text(ps.tgpp_sgsn_mcc_mnc) or ps.tgpp_sgsn_mcc_mnc
    if ps.tgpp_user_location_info is not None:
        facts["location"] = ps.tgpp_user_location_info.hex()
    if ps.tgpp_charging_characteristics is not None:
        facts["charging_characteristics"] = ps.tgpp_charging_characteristics.lower()
    if ps.tgpp_ms_timezone is not None:
        facts["user_time_zone"] = ps.tgpp_ms_timezone.hex()
    if ps.node_id is not None:
        facts["node"] = ps.node_id
    if ps.user_equipment_info is not None:
        _equipment(ps.user_equipment_info, facts)


def _ims(ims: ImsInformation, facts: Facts) -> None:
    if ims.role_of_node is not None:
        facts["role"] = ims.role_of_node
    if ims.calling_party_address:
        facts["calling"] = party(ims.calling_party_address[0])
    called = ims.called_party_address or (ims.requested_party_address[0] if ims.requested_party_address else None)
    if called is not None:
        facts["called"] = party(called)
    if ims.event_type is not None:
        facts["event_type"] = ims.event_type.sip_method or ims.event_type.event or ""
    if ims.access_network_information:
        access = [one.decode("utf-8", "backslashreplace") for one in ims.access_network_information]
        facts["location"] = access[0]
        access.sort(key=lambda one: not is_network_provided(one))  # what the network says, before what the phone says
        if visited := next(filter(None, map(in_text, access)), ""):
            facts["visited"] = visited
    if ims.ims_visited_network_identifier:
        facts["visited"] = in_text(ims.ims_visited_network_identifier) or ims.ims_visited_network_identifier
    if ims.service_id is not None:
        facts["media"] = ims.service_id


def _sms(sms: SmsInformation, facts: Facts) -> None:
    originator = sms.originator_received_address
    if originator is not None and originator.address_data is not None:
        facts["calling"] = party(originator.address_data)
    for recipient in sms.recipient_info:
        for address in recipient.recipient_address:
            if address.address_data is not None:
                facts.setdefault("called", party(address.address_data))
    if sms.sm_message_type is not None:
        facts["event_type"] = str(sms.sm_message_type)


def _mms(mms: MmsInformation, facts: Facts) -> None:
    if mms.originator_address is not None and mms.originator_address.address_data is not None:
        facts["calling"] = party(mms.originator_address.address_data)
    for address in mms.recipient_address:
        if address.address_data is not None:
            facts.setdefault("called", party(address.address_data))
    if mms.message_type is not None:
        facts["event_type"] = str(mms.message_type)


READERS: tuple[tuple[str, Callable[[Any, Facts], None]], ...] = (
    ("ps_information", _packet_switched),
    ("ims_information", _ims),
    ("sms_information", _sms),
    ("mms_information", _mms),
)
assert all(field in ServiceInformation.spec.members for field, _ in READERS)
