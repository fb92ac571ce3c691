"""What a RADIUS packet says about the service used: the inputs of rating. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from ocs.charging.identity import party
from ocs.charging.networks import in_text
from ocs.charging.radius.identities import is_mac
from ocs.charging.radius.mapped_input import told_in
from ocs.charging.radius.names import nas_name
from ocs.charging.radius.nas import NasProfile
from protocol.radius.dictionary.standard import CALLED_STATION_ID, CALLING_STATION_ID, NAS_PORT_ID, NAS_PORT_TYPE
from protocol.radius.dictionary.tgpp import TGPP_LOCATION_INFO, TGPP_RAT_TYPE, TGPP_SGSN_MCC_MNC
from protocol.radius.packet import Packet
from tariffs.inputs import Inputs

_SEPARATORS: Final = re.compile(r"[:.-]")


def inputs_of(packet: Packet, nas: NasProfile) -> Inputs:
    """Called-Station-Id is an access point, a service name or a number, as the kind of network has it: it stands as a
    party and as an access point."""
    facts: dict[str, Any] = {}
    get = packet.get
    calling, called = get(CALLING_STATION_ID), get(CALLED_STATION_ID)
    if calling:
        facts["calling"] = party(calling)
        if is_mac(calling):
            facts["equipment"] = _SEPARATORS.sub("", calling).lower()
    if called:
        facts["called"], facts["apn"] = party(called), called.lower()
    node, port, port_type = nas_name(packet), get(NAS_PORT_ID), get(NAS_PORT_TYPE)
    if node:
        facts["node"] = node
    if port:
        facts["location"] = port
    if port_type is not None:
        facts["port_type"] = port_type
    if location := get(TGPP_LOCATION_INFO):
        facts["location"] = location.hex()
    if rat := get(TGPP_RAT_TYPE):
        facts["rat_type"] = rat
    if visited := get(TGPP_SGSN_MCC_MNC):
        facts["visited"] = in_text(visited) or visited
    if nas.inputs and (told := told_in(packet, nas.inputs)):
        facts["network"] = told
    return Inputs(nas.service, **facts)
