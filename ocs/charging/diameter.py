"""Diameter credit control (RFC 8506, TS 32.299) <-> charging: the only place where both vocabularies meet.

`to_request` makes a ChargingRequest of a decoded CCR, or raises AvpError for what RFC 8506 says must be refused;
`to_cca` makes the CCA of a ChargingAnswer. What real clients send is in field-notes.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from balances.ops import LINES_MAX, Action, Phase, Result
from ocs.charging.diameter_facts import inputs_of
from ocs.charging.identity import IdentityKind, number_in, spelled
from ocs.charging.outcomes import DIAMETER
from ocs.charging.request import (
    AskedLine,
    ChargingAnswer,
    ChargingRequest,
    Fault,
    FinalAction,
    FinalUnit,
    GrantedLine,
    Period,
    Reason,
    Style,
    Units,
    Used,
)
from ocs.charging.settings import Settings
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
    RequestedServiceUnit,
    SubscriptionIdType,
    TariffChangeUsage,
    UnitValue,
    UsedServiceUnit,
)
from protocol.diameter.dictionary.credit_values import (
    CC_MONEY,
    CC_TOTAL_OCTETS,
    RATING_GROUP,
    SERVICE_CONTEXT_ID,
    SERVICE_IDENTIFIER,
)
from protocol.diameter.dictionary.tgpp_charging import REFUND_INFORMATION
from protocol.errors import AvpError, ResultCode
from tariffs.units import EXACT_MAX

PHASES: Final = {1: Phase.START, 2: Phase.UPDATE, 3: Phase.STOP, 4: Phase.EVENT}
ACTIONS: Final = {action.value: action for action in Action}
PERIODS: Final = {0: Period.BEFORE, 1: Period.AFTER, 2: Period.INDETERMINATE}
REASONS: Final = {2: Reason.FINAL, 1: Reason.IDLE}
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

MSI_SUPPORTED: Final = 1
MICRO_EXPONENT: Final = -6
U32_MAX: Final = 2**32 - 1


# ---- the request


def to_request(ccr: CreditControlRequest, via: str, settings: Settings) -> ChargingRequest:
    """The request in our words. AvpError: 5004 for money that cannot be used, 5012 for too many lines.

    via:  Origin-Host of the directly connected peer; behind a relay it is not the client's
    """
    phase = PHASES[ccr.cc_request_type]
    service = settings.services.of(ccr.service_context_id)
    mscc = ccr.multiple_services_credit_control
    lines = _lines(mscc) if mscc else _single_line(ccr, phase)
    if len(lines) > LINES_MAX:
        raise AvpError(ResultCode.UNABLE_TO_COMPLY, f"{len(lines)} lines; at most {LINES_MAX} are served at once")
    event_s = ccr.event_timestamp
    return ChargingRequest(
        peer=ccr.origin_host,
        realm=ccr.origin_realm,
        via=via,
        session=ccr.session_id,
        sub_session=ccr.cc_sub_session_id,
        phase=phase,
        number=ccr.cc_request_number,
        end_to_end=ccr.end_to_end,
        resend=ccr.is_retransmitted,
        identities=_identities(ccr, settings),
        event_ms=None if event_s is None else event_s * 1_000,
        lines=lines,
        style=Style.LINES if mscc else Style.COMMAND,
        inputs=inputs_of(ccr, service.name if service else ""),
        # Some clients send Requested-Action in I, U and T: it means nothing there (RFC 8506 section 8.41).
        action=ACTIONS[ccr.requested_action or 0] if phase is Phase.EVENT else Action.DEBIT,
        currency=_currency(ccr),
        refund_token=_refund_token(ccr) if phase is Phase.EVENT else b"",
        wants_cost=bool(ccr.aoc_request_type),
    )


def _identities(ccr: CreditControlRequest, settings: Settings) -> tuple[str, ...]:
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


def _lines(groups: tuple[MultipleServicesCreditControl, ...]) -> tuple[AskedLine, ...]:
    """One line for each rating group + service identifier; several groups of the same are one line."""
    if len(groups) == 1:
        return (_line(groups[0]),)
    merged: dict[tuple[int | None, int | None], AskedLine] = {}
    for group in groups:
        line = _line(group)
        key = line.rating_group, line.service_id
        before = merged.get(key)
        merged[key] = line if before is None else _merge(before, line)
    return tuple(merged.values())


def _line(group: MultipleServicesCreditControl) -> AskedLine:
    used: tuple[Used, ...] = ()
    reasons = group.reporting_reason
    if group.used_service_unit:
        used = _used(group.used_service_unit, group.tariff_change_usage)
        if not reasons:  # beside the use or inside it: field-notes.md
            reasons = tuple(u.reporting_reason for u in group.used_service_unit if u.reporting_reason is not None)
    reason = Reason.OTHER
    for number in reasons:
        if number in REASONS and reason is not Reason.FINAL:
            reason = REASONS[number]
    services = group.service_identifier
    requested = group.requested_service_unit
    return AskedLine(
        group.rating_group,
        services[0] if services else None,
        None if requested is None else _units(requested),
        used,
        reason,
    )


def _merge(one: AskedLine, other: AskedLine) -> AskedLine:
    requested = one.requested if other.requested is None else other.requested
    if one.requested is not None and other.requested is not None:
        requested = _sum(one.requested, other.requested)
    reason = max(one.reason, other.reason, key=lambda reason: reason is Reason.FINAL)
    used = _by_period([(each.period, each.units) for each in one.used + other.used])
    return AskedLine(one.rating_group, one.service_id, requested, used, reason)


def _single_line(ccr: CreditControlRequest, phase: Phase) -> tuple[AskedLine, ...]:
    """A CCR without Multiple-Services-Credit-Control is one line, unless it names no unit at all: a session that asks
    when its traffic starts (RFC 8506 section 5.1.2), a report without use, a bare TERMINATION."""
    requested = ccr.requested_service_unit
    used = _used(ccr.used_service_unit, None) if ccr.used_service_unit else ()
    if requested is None and not used:
        asks_later = ccr.multiple_services_indicator == MSI_SUPPORTED
        if phase is Phase.STOP or phase is Phase.UPDATE or (phase is Phase.START and asks_later):
            return ()
    return (AskedLine(None, ccr.service_identifier, None if requested is None else _units(requested), used),)


def _used(pieces: tuple[UsedServiceUnit, ...], outer: TariffChangeUsage | None) -> tuple[Used, ...]:
    """All pieces of one period summed. Tariff-Change-Usage stands in the piece or around it."""
    if len(pieces) == 1:
        change = outer if pieces[0].tariff_change_usage is None else pieces[0].tariff_change_usage
        return (Used(_units(pieces[0]), Period.BEFORE if change is None else PERIODS[change]),)
    found = []
    for piece in pieces:
        change = outer if piece.tariff_change_usage is None else piece.tariff_change_usage
        found.append((Period.BEFORE if change is None else PERIODS[change], _units(piece)))
    return _by_period(found)


def _by_period(pieces: list[tuple[Period, Units]]) -> tuple[Used, ...]:
    sums: dict[Period, Units] = {}
    for period, units in pieces:
        before = sums.get(period)
        sums[period] = units if before is None else _sum(before, units)
    return tuple(Used(sums[period], period) for period in Period if period in sums)


def _sum(one: Units, other: Units) -> Units:
    return Units(
        _add(one.money, other.money),
        _add(one.octets, other.octets),
        _add(one.seconds, other.seconds),
        _add(one.units, other.units),
    )


def _add(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    if one + other > EXACT_MAX:
        raise AvpError(ResultCode.INVALID_AVP_VALUE, "amounts that add up to more than 2^53")
    return one + other


def _units(group: UsedServiceUnit | RequestedServiceUnit) -> Units:
    octets = group.cc_total_octets
    if octets is None:  # both directions are the total, which is the charged figure where both are given
        received, sent = group.cc_input_octets, group.cc_output_octets
        if received is not None or sent is not None:
            octets = (received or 0) + (sent or 0)
    units = group.cc_service_specific_units
    if (octets is not None and octets > EXACT_MAX) or (units is not None and units > EXACT_MAX):
        failed = CC_TOTAL_OCTETS.pack(group.cc_total_octets) if group.cc_total_octets else b""
        raise AvpError(ResultCode.INVALID_AVP_VALUE, "more than 2^53 units", failed)
    money = group.cc_money
    return Units(None if money is None else _micro(money), octets, group.cc_time, units)


def _micro(money: CcMoney) -> int:
    """Digits * 10^exponent in micro-units. Negative, or finer than these: 5004 (charging.md section 2)."""
    digits, exponent = money.unit_value.value_digits, (money.unit_value.exponent or 0) - MICRO_EXPONENT
    if digits == 0:
        return 0
    if digits > 0 and -18 <= exponent <= 15:  # Value-Digits has at most 19 digits, 2^53 has 16
        micro, rest = divmod(digits * _ten(exponent), _ten(-exponent))
        if not rest and micro <= EXACT_MAX:
            return micro
    why = f"money of {digits}E{exponent + MICRO_EXPONENT}: negative, finer than a micro-unit, or too large"
    raise AvpError(ResultCode.INVALID_AVP_VALUE, why, CC_MONEY.pack(money))


def _ten(exponent: int) -> int:
    return int(10 ** max(exponent, 0))


def _money_in(ccr: CreditControlRequest) -> list[CcMoney]:
    groups: list[Any] = [ccr.requested_service_unit, *ccr.used_service_unit]
    for line in ccr.multiple_services_credit_control:
        groups += (line.requested_service_unit, *line.used_service_unit)
    return [group.cc_money for group in groups if group is not None and group.cc_money is not None]


def _currency(ccr: CreditControlRequest) -> int | None:
    found: int | None = None
    for money in _money_in(ccr):
        if money.currency_code is not None:
            if found is not None and found != money.currency_code:
                why = f"currencies {found} and {money.currency_code} in one request"
                raise AvpError(ResultCode.INVALID_AVP_VALUE, why, CC_MONEY.pack(money))
            found = money.currency_code
    return found


def _refund_token(ccr: CreditControlRequest) -> bytes:
    """Refund-Information as we gave it, in a line or, where the client is old-fashioned, beside."""
    for line in ccr.multiple_services_credit_control:
        if line.refund_information is not None:
            return line.refund_information
    for avp in ccr.others:
        if avp[:4] == REFUND_INFORMATION.code.to_bytes(4, "big") and avp[4] & 0x80 and len(avp) > 12:
            return avp[12 : int.from_bytes(avp[5:8], "big")]
    return b""


# ---- the answer


class Local(msgspec.Struct, frozen=True):
    """Who we are on the wire."""

    origin_host: str
    origin_realm: str
    origin_state_id: int | None = None


def to_cca(ccr: CreditControlRequest, answer: ChargingAnswer, local: Local) -> CreditControlAnswer:
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
    if answer.failure_handling is not None:
        fields["credit_control_failure_handling"] = CreditControlFailureHandling(answer.failure_handling)
    if answer.debit_failure_handling is not None:
        fields["direct_debiting_failure_handling"] = DirectDebitingFailureHandling(answer.debit_failure_handling)
    if answer.session_failover is not None:
        fields["cc_session_failover"] = CcSessionFailover(answer.session_failover)
    if answer.reason:
        fields["error_message"] = answer.reason
    if answer.fault is not Fault.NONE:
        fields["failed_avp"] = _failed(ccr, answer)
    return CreditControlAnswer(**fields)


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
    elif units.seconds is not None:
        fields["cc_time"] = min(units.seconds, U32_MAX)
    elif units.units is not None:
        fields["cc_service_specific_units"] = units.units
    elif units.money is not None:
        value = UnitValue(value_digits=units.money, exponent=MICRO_EXPONENT)
        fields["cc_money"] = CcMoney(unit_value=value, currency_code=currency)
    return GrantedServiceUnit(**fields)


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
        return tuple(CC_MONEY.pack(money) for money in _money_in(ccr)[:1])
    if answer.fault is Fault.LINE:
        for line in answer.lines:
            if line.result is Result.RATING_FAILED:
                if line.rating_group is not None:
                    return (RATING_GROUP.pack(line.rating_group),)
                if line.service_id is not None:
                    return (SERVICE_IDENTIFIER.pack(line.service_id),)
    return (SERVICE_CONTEXT_ID.pack(ccr.service_context_id),)
