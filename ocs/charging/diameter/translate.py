"""Diameter credit control (RFC 8506, TS 32.299) <-> charging: the only place where both vocabularies meet.

`to_request` makes a ChargingRequest of a decoded CCR, or raises AvpError for what RFC 8506 says must be refused;
`to_cca` makes the CCA of a ChargingAnswer. What real clients send is in field-notes.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from balances.keys import part
from balances.structs.charge import Action, Phase, Result
from ocs.charging.diameter.lines import (
    MICRO_EXPONENT,
    Reading,
    lines_of,
    money_in,
    says_use,
    single_line,
)
from ocs.charging.diameter.rating_inputs import inputs_of, line_facts
from ocs.charging.identity import IdentityKind, number_in, spelled
from ocs.charging.outcomes import DIAMETER
from ocs.charging.request import (
    CLIENT,
    AskedLine,
    ChargingAnswer,
    ChargingRequest,
    Delivery,
    Fault,
    FinalAction,
    FinalUnit,
    GrantedLine,
    Origin,
    RequestKey,
    Style,
    Units,
)
from ocs.charging.services import UNKNOWN, Service, Services
from ocs.charging.settings import ChargingSettings
from protocol.diameter.avp import VENDOR
from protocol.diameter.dictionary.base import SESSION_ID
from protocol.diameter.dictionary.credit_control import (
    CcMoney,
    CcSessionFailover,
    CheckBalanceResult,
    CostInformation,
    CreditControlAnswer,
    CreditControlFailureHandling,
    CreditControlRequest,
    DirectDebitingFailureHandling,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    RedirectAddressType,
    RedirectServer,
    SubscriptionIdType,
    UnitValue,
)
from protocol.diameter.dictionary.credit_values import (
    CC_MONEY,
    RATING_GROUP,
    REQUESTED_ACTION,
    SERVICE_CONTEXT_ID,
    SERVICE_IDENTIFIER,
)
from protocol.diameter.dictionary.tgpp_charging import (
    MAX_REQUESTED_BANDWIDTH_DL,
    MAX_REQUESTED_BANDWIDTH_UL,
    REFUND_INFORMATION,
)
from protocol.errors import AvpError, ResultCode
from tariffs.units import Rounding

PHASES: Final = {1: Phase.START, 2: Phase.UPDATE, 3: Phase.STOP, 4: Phase.EVENT}
ACTIONS: Final = {action.value: action for action in Action}
KINDS: Final = {
    SubscriptionIdType.END_USER_E164: IdentityKind.MSISDN,
    SubscriptionIdType.END_USER_IMSI: IdentityKind.IMSI,
    SubscriptionIdType.END_USER_SIP_URI: IdentityKind.SIP,
    SubscriptionIdType.END_USER_NAI: IdentityKind.NAI,
    SubscriptionIdType.END_USER_PRIVATE: IdentityKind.PRIVATE,
}
EXTENSIONS: Final = (
    ("subscription_id_e164", IdentityKind.MSISDN),
    ("subscription_id_imsi", IdentityKind.IMSI),
    ("subscription_id_sip_uri", IdentityKind.SIP),
    ("subscription_id_nai", IdentityKind.NAI),
    ("subscription_id_private", IdentityKind.PRIVATE),
)

SAYS_HOW_TO_FAIL: Final = frozenset({1, 4})
"""Request types: what a session is opened with, and events."""
U32_MAX: Final = 2**32 - 1
FOREIGN: Final = (CLIENT, "radius:", "radius-")
"""What our names of sessions begin with that no client of Diameter has: its own begin with a DiameterIdentity, which
has no colon and is no such word (RFC 6733 section 8.8)."""
PLATFORMS_DEBIT: Final = f"event {part(CLIENT)}".encode()
"""What the refund token of a debit over HTTP begins with."""


# ---- the request


def to_request(ccr: CreditControlRequest, via: str, settings: ChargingSettings) -> ChargingRequest:
    """The request in our words. AvpError 5004: money, a period or an action that cannot be used, in a request that
    reports nothing; a Session-Id that names a session of another protocol.

    via:  Origin-Host of the directly connected peer; behind a relay it is not the client's
    """
    if ccr.session_id.startswith(FOREIGN):
        named = SESSION_ID.pack(ccr.session_id)
        raise AvpError(ResultCode.INVALID_AVP_VALUE, "a Session-Id of another protocol", named)
    phase = PHASES[ccr.cc_request_type]
    service = settings.services.of(ccr.service_context_id)
    mscc = ccr.multiple_services_credit_control
    reading = Reading(phase, says_use(ccr, phase), service.rounding if service else Rounding.UP)
    lines = lines_of(mscc, reading) if mscc else single_line(ccr, reading)
    event_s = ccr.event_timestamp
    # Some clients send Requested-Action in I, U and T: it means nothing there (RFC 8506 section 8.41).
    action = _action(ccr) if phase is Phase.EVENT else Action.DEBIT
    return ChargingRequest(
        origin=Origin(ccr.origin_host, ccr.origin_realm, via, ccr.origin_state_id or 0),
        key=RequestKey(
            ccr.session_id, ccr.cc_sub_session_id, ccr.cc_request_number, ccr.end_to_end, ccr.is_retransmitted
        ),
        phase=phase,
        identities=_identities(ccr, settings),
        event_ms=None if event_s is None else event_s * 1_000,
        lines=lines,
        style=Style.LINES if mscc else Style.COMMAND,
        inputs=inputs_of(ccr, service.name if service else ""),
        action=action,
        currency=_currency(lines),
        refund_token=_refund_token(ccr, action) if phase is Phase.EVENT else b"",
        wants_cost=bool(ccr.aoc_request_type),
        line_facts=line_facts(mscc),
    )


def _currency(lines: tuple[AskedLine, ...]) -> int | None:
    for line in lines:
        for money in (line.wish, line.use):
            if money is not None and money.currencies:
                return money.currencies[0]
    return None


def _action(ccr: CreditControlRequest) -> Action:
    number = ccr.requested_action or 0
    if number not in ACTIONS:
        why = f"{number} is no Requested-Action"
        raise AvpError(ResultCode.INVALID_AVP_VALUE, why, REQUESTED_ACTION.pack(number))
    return ACTIONS[number]


def _identities(ccr: CreditControlRequest, settings: ChargingSettings) -> tuple[str, ...]:
    """Every name the subscriber is given, in the order to be tried (IMSI often comes before MSISDN)."""
    found = []
    subscriptions = ccr.subscription_id
    if not subscriptions and ccr.service_information is not None:
        subscriptions = ccr.service_information.subscription_id
    for one in subscriptions:
        kind = KINDS.get(one.subscription_id_type)  # type: ignore[call-overload]
        if kind is not None:  # section 8.47: other kinds may be skipped while a usable one is there
            found.append(spelled(kind, one.subscription_id_data))
    for extension in ccr.subscription_id_extension:
        for field, kind in EXTENSIONS:
            data = getattr(extension, field)
            if data is not None:
                found.append(spelled(kind, data))
    if ccr.user_name is not None:
        found.append(spelled(IdentityKind.USERNAME, ccr.user_name))
    found += [number_in(identity) for identity in found if identity.startswith("sip:")]
    if len(found) > 1:
        found = list(dict.fromkeys(found))
        order = settings.identity_order
        if order:
            rank = {kind: place for place, kind in enumerate(order)}
            found.sort(key=lambda identity: rank.get(identity.partition(":")[0], len(rank)))
    return tuple(filter(None, found))


def _refund_token(ccr: CreditControlRequest, action: Action) -> bytes:
    """AvpError 5004: of a debit over HTTP, which its platform refunds, or the back office (charging.md section 13)."""
    token = _refund_information(ccr)
    if action is Action.REFUND and token.startswith(PLATFORMS_DEBIT):
        avp = REFUND_INFORMATION.pack(token)
        raise AvpError(ResultCode.INVALID_AVP_VALUE, "a refund of what was debited over HTTP", avp)
    return token


def _refund_information(ccr: CreditControlRequest) -> bytes:
    """As we gave it, in a line or, where the client is old-fashioned, beside."""
    for line in ccr.multiple_services_credit_control:
        if line.refund_information is not None:
            return line.refund_information
    for avp in ccr.others:  # of 3GPP: that code of another vendor is something else
        if avp[4] & VENDOR and avp[8:12] + avp[:4] == REFUND_INFORMATION.key.to_bytes(8) and len(avp) > 12:
            return avp[12 : int.from_bytes(avp[5:8], "big")]
    return b""


# ---- the answer


class LocalIdentity(msgspec.Struct, frozen=True):
    """Who we are on the wire."""

    origin_host: str
    origin_realm: str
    origin_state_id: int | None = None


def to_cca(
    ccr: CreditControlRequest, answer: ChargingAnswer, local: LocalIdentity, services: Services
) -> CreditControlAnswer:
    """In the style asked: units stand where they stood in the request. Only what is there is written down, which is
    what makes encoding quick."""
    fields: dict[str, Any] = {
        "session_id": ccr.session_id,
        "result_code": DIAMETER[answer.result],
        "origin_host": local.origin_host,
        "origin_realm": local.origin_realm,
        "auth_application_id": CreditControlAnswer.application,
        "cc_request_type": ccr.cc_request_type,
        "cc_request_number": ccr.cc_request_number,
    }
    if ccr.cc_sub_session_id is not None:
        fields["cc_sub_session_id"] = ccr.cc_sub_session_id
    if answer.lines:
        if ccr.multiple_services_credit_control:
            fields["multiple_services_credit_control"] = _answered_lines(ccr, answer)
        else:
            _fill_single(fields, answer)
    if answer.cost_micro is not None and answer.currency is not None:
        fields["cost_information"] = CostInformation(
            unit_value=UnitValue(value_digits=answer.cost_micro, exponent=MICRO_EXPONENT), currency_code=answer.currency
        )
    if answer.enough is not None:
        fields["check_balance_result"] = (
            CheckBalanceResult.ENOUGH_CREDIT if answer.enough else CheckBalanceResult.NO_CREDIT
        )
    if answer.low_balance:
        fields["low_balance_indication"] = 1
    if answer.service and ccr.cc_request_type in SAYS_HOW_TO_FAIL:
        _failing(fields, services.by_name.get(answer.service, UNKNOWN), PHASES[ccr.cc_request_type])
    if answer.reason:
        fields["error_message"] = answer.reason
    if answer.fault is not Fault.NONE:
        fields["failed_avp"] = _failed(ccr, answer)
    return CreditControlAnswer(**fields)


def _failing(fields: dict[str, Any], service: Service, phase: Phase) -> None:
    """What the client does when nobody answers, as the row of the service has it."""
    if phase is Phase.EVENT:
        if service.debit_failure_handling is not None:
            handling = DirectDebitingFailureHandling(service.debit_failure_handling)
            fields["direct_debiting_failure_handling"] = handling
        return
    if service.failure_handling is not None:
        fields["credit_control_failure_handling"] = CreditControlFailureHandling(service.failure_handling)
    if service.session_failover is not None:
        fields["cc_session_failover"] = CcSessionFailover(service.session_failover)


def _answered_lines(ccr: CreditControlRequest, answer: ChargingAnswer) -> tuple[MultipleServicesCreditControl, ...]:
    token = answer.refund_token
    lines = tuple(_answered_line(line, answer.currency, token) for line in answer.lines)
    if any(len(group.service_identifier) > 1 for group in ccr.multiple_services_credit_control):
        # Quota for several services at once: all of them are named again (RFC 8506 section 8.16).
        named = {
            (group.rating_group, group.service_identifier[0]): group.service_identifier
            for group in ccr.multiple_services_credit_control
            if group.service_identifier
        }
        for line in lines:
            if line.service_identifier:
                services = named.get((line.rating_group, line.service_identifier[0]), line.service_identifier)
                line.__dict__["service_identifier"] = services
    return lines


def _answered_line(line: GrantedLine, currency: int | None, token: bytes) -> MultipleServicesCreditControl:
    fields: dict[str, Any] = {"result_code": DIAMETER[line.result]}
    if line.rating_group is not None:
        fields["rating_group"] = line.rating_group
    if line.service_id is not None:
        fields["service_identifier"] = (line.service_id,)
    if line.granted is not None:
        fields["granted_service_unit"] = _granted(line.granted, line.change_ms, currency)
        if line.threshold is not None:
            fields[_threshold_field(line.granted)] = min(line.threshold, U32_MAX)
        if line.holding_s is not None:
            fields["quota_holding_time"] = line.holding_s
    if line.validity_s is not None:
        fields["validity_time"] = line.validity_s
    if line.final is not None:
        fields["final_unit_indication"] = _final_unit(line.final)
    if line.delivery is not None:
        fields["qos_information"] = _qos(line.delivery)
    if token:
        fields["refund_information"] = token
    return MultipleServicesCreditControl(**fields)


def _threshold_field(granted: Units) -> str:
    if granted.octets is not None:
        return "volume_quota_threshold"
    return "time_quota_threshold" if granted.seconds is not None else "unit_quota_threshold"


def _fill_single(fields: dict[str, Any], answer: ChargingAnswer) -> None:
    line = answer.lines[0]
    if line.granted is not None:
        fields["granted_service_unit"] = _granted(line.granted, line.change_ms, answer.currency)
    if line.validity_s is not None:
        fields["validity_time"] = line.validity_s
    if line.final is not None:
        fields["final_unit_indication"] = _final_unit(line.final)
    if answer.refund_token:
        fields["others"] = (REFUND_INFORMATION.pack(answer.refund_token),)


def _granted(units: Units, change_ms: int | None, currency: int | None) -> GrantedServiceUnit:
    fields: dict[str, Any] = {}
    if change_ms is not None:
        fields["tariff_time_change"] = change_ms // 1_000
    if units.octets is not None:
        fields["cc_total_octets"] = units.octets
    if units.seconds is not None:
        fields["cc_time"] = min(units.seconds, U32_MAX)
    if units.units is not None:
        fields["cc_service_specific_units"] = units.units
    if units.money is not None:
        value = UnitValue(value_digits=units.money, exponent=MICRO_EXPONENT)
        fields["cc_money"] = CcMoney(unit_value=value, currency_code=currency)
    return GrantedServiceUnit(**fields)


@lru_cache(256)
def _qos(delivery: Delivery) -> bytes:
    """QoS-Information as TS 29.212 section 5.3.16 has it, as far as it is a speed."""
    parts = ((MAX_REQUESTED_BANDWIDTH_DL, delivery.down_bps), (MAX_REQUESTED_BANDWIDTH_UL, delivery.up_bps))
    return b"".join(avp.pack(bps) for avp, bps in parts if bps)


@lru_cache(256)
def _final_unit(final: FinalUnit) -> FinalUnitIndication:
    """RFC 8506 section 8.34: TERMINATE stands alone, REDIRECT has a server, RESTRICT_ACCESS its filters."""
    if final.action is FinalAction.TERMINATE:
        return FinalUnitIndication(final_unit_action=FinalUnitAction.TERMINATE)
    server = RedirectServer(
        redirect_address_type=RedirectAddressType(final.address_kind.value), redirect_server_address=final.address
    )
    return FinalUnitIndication(
        final_unit_action=FinalUnitAction(final.action.value),
        restriction_filter_rule=final.filters,
        filter_id=final.filter_ids,
        redirect_server=server if final.action is FinalAction.REDIRECT else None,
    )


def _failed(ccr: CreditControlRequest, answer: ChargingAnswer) -> tuple[bytes, ...]:
    """Failed-AVP: copies of what could not be used (RFC 8506 section 9.1 demands it with 5031)."""
    if answer.fault is Fault.MONEY:
        found = [money for money in money_in(ccr) if money.currency_code not in (None, answer.currency)]
        return tuple(CC_MONEY.pack(money) for money in found[:1])
    if answer.fault is Fault.LINE:
        for line in answer.lines:
            if line.result is Result.RATING_FAILED:
                if line.rating_group is not None:
                    return (RATING_GROUP.pack(line.rating_group),)
                if line.service_id is not None:
                    return (SERVICE_IDENTIFIER.pack(line.service_id),)
    return (SERVICE_CONTEXT_ID.pack(ccr.service_context_id),)
