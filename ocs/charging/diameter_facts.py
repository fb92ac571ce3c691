"""What a CCR says about the service used: the inputs of rating out of Service-Information (TS 32.299 section 7.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ocs.charging.identity import party
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.diameter.dictionary.tgpp_charging import (
    ImsInformation,
    MmsInformation,
    PsInformation,
    ServiceInformation,
    SmsInformation,
)
from tariffs.inputs import Inputs

Facts = dict[str, Any]


def inputs_of(ccr: CreditControlRequest, service: str) -> Inputs:
    information = ccr.service_information
    if information is None:
        return Inputs(service, ccr.service_context_id)
    facts: Facts = {}
    for field, read in READERS:
        part = getattr(information, field)
        if part is not None:
            read(part, facts)
    return Inputs(service, ccr.service_context_id, **facts)


def _packet_switched(ps: PsInformation, facts: Facts) -> None:
    if ps.called_station_id is not None:
        facts["apn"] = ps.called_station_id.lower()
    if ps.tgpp_rat_type:
        facts["rat_type"] = ps.tgpp_rat_type[-1]  # one octet by TS 29.061; some send it as four
    # The network that serves the user; some gateways only fill in the home side.
    if ps.tgpp_sgsn_mcc_mnc is not None:
        facts["visited"] = ps.tgpp_sgsn_mcc_mnc
    if ps.tgpp_user_location_info is not None:
        facts["location"] = ps.tgpp_user_location_info.hex()
    if ps.tgpp_charging_characteristics is not None:
        facts["charging_characteristics"] = ps.tgpp_charging_characteristics.lower()
    if ps.tgpp_ms_timezone is not None:
        facts["user_time_zone"] = ps.tgpp_ms_timezone.hex()
    if ps.node_id is not None:
        facts["node"] = ps.node_id


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
    if ims.ims_visited_network_identifier is not None:
        facts["visited"] = ims.ims_visited_network_identifier
    if ims.access_network_information:
        facts["location"] = ims.access_network_information[0].decode("utf-8", "backslashreplace")
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
