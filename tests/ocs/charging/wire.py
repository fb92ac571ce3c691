"""CCRs as network elements send them, in few words, always through the octets."""

from __future__ import annotations

from typing import Any

import msgspec

from ocs.charging.diameter.translate import LocalIdentity, to_cca, to_request
from ocs.charging.request import ChargingAnswer, ChargingRequest
from ocs.charging.services import Services
from ocs.charging.settings import ChargingSettings
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    UsedServiceUnit,
)

LOCAL = LocalIdentity("ocs.example.net", "example.net")
SETTINGS = ChargingSettings()
I, U, T, E = CcRequestType  # noqa: E741
DATA, VOICE, SMS = "32251@3gpp.org", "32260@3gpp.org", "32274@3gpp.org"

MSISDN = SubscriptionId(subscription_id_type=0, subscription_id_data="491700000001")
IMSI = SubscriptionId(subscription_id_type=1, subscription_id_data="001010000000001")


def ccr(kind: CcRequestType = I, *, flags: int = 0xC0, **fields: Any) -> CreditControlRequest:
    """A decoded CCR; anything can be said otherwise or left out with None."""
    given: dict[str, Any] = {
        "session_id": "gw.example.net;1700000000;1",
        "origin_host": "gw.example.net",
        "origin_realm": "example.net",
        "destination_realm": "example.net",
        "auth_application_id": 4,
        "service_context_id": DATA,
        "cc_request_type": kind,
        "cc_request_number": 0,
        "subscription_id": (MSISDN,),
    } | fields
    given = {name: value for name, value in given.items() if value is not None}
    frame = CreditControlRequest(**given).encode(hop_by_hop=1, end_to_end=2, flags=flags)
    decoded = DICTIONARY.decode(frame)
    assert isinstance(decoded, CreditControlRequest)
    return decoded


def mscc(group: int | None = 10, *, ask: Any = None, used: Any = (), **fields: Any) -> MultipleServicesCreditControl:
    """ask: RSU fields, {} for an empty one; used: USU fields, one dict or several."""
    if ask is not None:
        fields["requested_service_unit"] = RequestedServiceUnit(**ask)
    if used:
        pieces = [used] if isinstance(used, dict) else used
        fields["used_service_unit"] = tuple(UsedServiceUnit(**piece) for piece in pieces)
    if group is not None:
        fields["rating_group"] = group
    return MultipleServicesCreditControl(**fields)


def lines(*groups: MultipleServicesCreditControl) -> dict[str, Any]:
    return {"multiple_services_credit_control": groups}


def request(
    kind: CcRequestType = I, *, settings: ChargingSettings = SETTINGS, via: str = "gw.example.net", **fields: Any
) -> ChargingRequest:
    return to_request(ccr(kind, **fields), via, settings)


def cca(
    asked: CreditControlRequest, answer: ChargingAnswer, services: Services = SETTINGS.services
) -> CreditControlAnswer:
    """The answer as the client decodes it."""
    decoded = DICTIONARY.decode(to_cca(asked, answer, LOCAL, services).answer(asked))
    assert isinstance(decoded, CreditControlAnswer)
    return decoded


def codes(answer: Any) -> list[int]:
    """Command level first, then line by line."""
    return [answer.result_code, *(line.result_code for line in answer.multiple_services_credit_control)]


def under(request: ChargingRequest, message: int, **changes: Any) -> ChargingRequest:
    """The same, sent as another message."""
    key = msgspec.structs.replace(request.key, message=message)
    return msgspec.structs.replace(request, key=key, **changes)
