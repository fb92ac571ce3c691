"""From the outcome of a charge to the ChargingAnswer. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.keys import renumbered as renumbered_key
from balances.structs.charge import LINES_SETTLED_MAX, Action, Charge, Flag, LineOutcome, Outcome, Phase, Result
from ocs.charging.currencies import NUMBERS
from ocs.charging.decide import is_unusable
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.profile import Profile
from ocs.charging.request import (
    AskedLine,
    ChargingAnswer,
    ChargingRequest,
    Fault,
    FinalAction,
    GrantedLine,
    Reason,
    Style,
    Units,
)
from ocs.charging.services import CostInfo, Service
from tariffs.draft import RatingVerdict
from tariffs.rating import Quote
from tariffs.units import Kind

RESULTS: Final = tuple(Result)


def to_answer(
    request: ChargingRequest, service: Service, profile: Profile, quote: Quote, outcome: Outcome, charge: Charge
) -> ChargingAnswer:
    """The answer of a request. The outcome has one result for the command and one for each line (charging.md section
    5)."""
    result = RESULTS[outcome.result]
    phase, event = request.phase, request.phase is Phase.EVENT
    if outcome.lines:
        lines = tuple(_lines(outcome.lines, request.lines, service, phase))
    else:
        lines = tuple([GrantedLine(asked.rating_group, asked.service_id, result) for asked in request.lines])
    if result is Result.OK and request.style is Style.COMMAND and lines and lines[0].result is Result.NOT_APPLICABLE:
        result = Result.NOT_APPLICABLE  # RFC 8506 section 9.1: of the whole session, at command level
    if result is Result.OK and request.style is Style.COMMAND and lines and lines[0].result is Result.INVALID:
        result = Result.INVALID
    fault = Fault.NONE
    for line in lines:
        if line.result is Result.RATING_FAILED:
            fault = Fault.LINE if request.inputs.service else Fault.SERVICE
    cost = _cost(request, service, outcome)
    token = b""
    if event and request.action is Action.DEBIT and result is Result.OK:
        renumbered = any(line.flags & Flag.RENUMBERED for line in outcome.lines)  # then its answer has its own place
        token = (renumbered_key(charge.once_key, charge.fingerprint) if renumbered else charge.once_key).encode()
    return ChargingAnswer(
        result,
        lines,
        _reason(result, quote),
        fault,
        cost,
        NUMBERS.get(profile.currency),
        outcome.enough if event and request.action is Action.CHECK else None,
        outcome.low and service.low_balance,
        token,
        service.name,
        quote[0].why if event and request.action is Action.PRICE and quote else "",
        balance_micro=outcome.balance if outcome.lines else None,
    )


def _lines(
    outcomes: list[LineOutcome], asked: tuple[AskedLine, ...], service: Service, phase: Phase
) -> list[GrantedLine]:
    """The lines of the answer. A secondary unit is answered together with its line."""
    pairs: list[tuple[LineOutcome, LineOutcome | None]] = []
    for outcome in outcomes:
        if outcome.secondary:
            pairs[-1] = pairs[-1][0], outcome if outcome.granted else None
        else:
            pairs.append((outcome, None))
    if len(pairs) != len(asked):  # the stored answer to a request that looked otherwise
        return [_line(line, beside, Reason.FINAL, service, phase) for line, beside in pairs]
    lines = [_line(line, beside, one.reason, service, phase) for (line, beside), one in zip(pairs, asked, strict=True)]
    for place, one in enumerate(asked):  # told also where nothing was wanted: what they report was set aside
        if one.wish is None and one.use is None and place < LINES_SETTLED_MAX:
            continue
        if place >= LINES_SETTLED_MAX:
            lines[place] = msgspec.structs.replace(lines[place], result=Result.UNABLE)
        elif is_unusable(one):
            lines[place] = msgspec.structs.replace(lines[place], result=Result.INVALID)
    return lines


def _line(line: LineOutcome, beside: LineOutcome | None, reason: Reason, service: Service, phase: Phase) -> GrantedLine:
    result = RESULTS[line.result]
    granted: Units | None = None
    validity_s = threshold = holding_s = final = delivery = None
    if line.granted > 0:
        granted = _granted(line, beside)
        delivery = service.grades.get(line.grade) if line.grade else None
        if phase is not Phase.EVENT:
            validity_ms = min(line.validity_ms, beside.validity_ms) if beside else line.validity_ms
            validity_s = max(validity_ms // 1_000, 1)
            if line.final or (beside is not None and beside.final):
                final = service.final
            elif service.threshold_percent:
                threshold = line.granted * service.threshold_percent // 100 or None
            if line.unit == Kind.OCTETS or line.unit == Kind.SECONDS:
                holding_s = service.holding_s
    elif service.final.action is not FinalAction.TERMINATE and phase in (Phase.START, Phase.UPDATE):
        # RFC 8506 section 5.6: no units but the portal, and how long the user may stay there; the report that says
        # "the final action has begun" asks for nothing and is told that too.
        if result is Result.CREDIT_LIMIT:
            result, validity_s, final = Result.OK, service.validity_s, service.final
        elif result is Result.NO_GRANT and reason is Reason.OTHER:
            validity_s = service.validity_s
    return GrantedLine(
        None if line.rating_group < 0 else line.rating_group,
        None if line.service_id < 0 else line.service_id,
        result,
        granted,
        validity_s,
        line.change_ms or None,
        final,
        threshold,
        holding_s,
        delivery,
        line.grade if line.granted > 0 else "",
        (line.unit,) if beside is None else (line.unit, beside.unit),
    )


FIELDS: Final = ("money", "octets", "seconds", "units")
"""Of Units, by Kind."""


def _granted(line: LineOutcome, beside: LineOutcome | None) -> Units:
    if beside is not None:
        return Units(**{FIELDS[line.unit]: line.granted, FIELDS[beside.unit]: beside.granted})
    if line.unit == Kind.OCTETS:
        return Units(octets=line.granted)
    if line.unit == Kind.SECONDS:
        return Units(seconds=line.granted)
    return Units(units=line.granted) if line.unit == Kind.UNITS else Units(money=line.granted)


def _cost(request: ChargingRequest, service: Service, outcome: Outcome) -> int | None:
    """The cost to state: so far in an UPDATE, in total in a TERMINATION, of the event otherwise. Holds do not count."""
    phase = request.phase
    if phase is Phase.EVENT:
        if request.action is Action.PRICE:
            return outcome.cost
        cost = abs(outcome.cost)
    elif phase is Phase.START:
        return None
    else:
        cost = outcome.debited
    wanted = service.cost is CostInfo.ALWAYS or (service.cost is CostInfo.ASKED and request.wants_cost)
    return cost if wanted else None


def _reason(result: Result, quote: Quote) -> str:
    if result is Result.RATING_FAILED:
        return next((rated.why for rated in quote if rated.verdict is RatingVerdict.RATING_FAILED), "")
    return OUTCOMES[result].words
