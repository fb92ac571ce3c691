"""Use reported for an unknown user: it is put on record, and no other state is kept (charging.md section 2)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Protocol

import msgspec

from balances import keys
from balances.structs.blob import FORMAT
from balances.structs.charge import Flag, Phase, Reply, Result, Suspense
from balances.structs.record import ASIDE, Record, Usage
from ocs.charging.currencies import CODES
from ocs.charging.decide import Arrival, fingerprint, has_use, key_of
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest, Units
from ocs.charging.services import UNKNOWN
from ocs.charging.settings import ChargingSettings
from tariffs.units import Kind

_pack: Final = msgspec.msgpack.Encoder().encode


class SuspenseStore(Protocol):
    def aside(self, record: Record, context: bytes) -> Awaitable[Reply]: ...


async def answer_nobody(
    request: ChargingRequest, store: SuspenseStore, settings: ChargingSettings, arrived: Arrival
) -> ChargingAnswer | Busy:
    """Put the reported use of an unknown user on record, then answer "user unknown"."""
    if has_use(request):
        record, context = to_suspense(request, settings, arrived)
        reply = await store.aside(record, context)
        if reply.status != "ok":
            return Busy(f"the store is {reply.status}")
    known = request.phase is Phase.START or request.phase is Phase.EVENT
    result = Result.USER_UNKNOWN if known else Result.SESSION_UNKNOWN
    return ChargingAnswer(result, reason=OUTCOMES[result].words)


def came_to_nothing(answer: ChargingAnswer | Busy | None) -> bool:
    """Whether an INITIAL is not known to have made a session: nothing would ever remove what says where that is."""
    made_none = (Result.USER_UNKNOWN, Result.TOO_MANY_SESSIONS)
    return not isinstance(answer, ChargingAnswer) or answer.result in made_none


def to_suspense(request: ChargingRequest, settings: ChargingSettings, arrived: Arrival) -> tuple[Record, bytes]:
    """The record, and the rating inputs that go with it."""
    session, now_ms, event_ms, flags = arrived
    service = settings.services.by_name.get(request.inputs.service, UNKNOWN)
    known = request.phase is Phase.START or request.phase is Phase.EVENT
    result = Result.USER_UNKNOWN if known else Result.SESSION_UNKNOWN
    usages = []
    for line in request.lines:
        for used in line.used:
            for unit, amount in _telling(used.units, service.unit):
                usage = Usage(
                    -1 if line.rating_group is None else line.rating_group,
                    -1 if line.service_id is None else line.service_id,
                    unit,
                    used=0,
                    suspense=amount,
                    total=0,
                    cost=0,
                    granted=0,
                    result=result,
                    flags=flags | Flag.SUSPENSE | (Flag.COUNTER if used.counter is not None else 0),
                    tag="",
                    at_ms=event_ms,
                    set_aside=Suspense.NOBODY,
                )
                usages.append(usage)
    record = Record(
        FORMAT,
        ASIDE,
        keys.nobody(session),
        "XXX" if request.currency is None else CODES.get(request.currency, "XXX"),
        session=session,
        service=service.name,
        phase=request.phase,
        at_ms=now_ms,
        event_ms=event_ms,
        key=key_of(request, settings.client(request.origin.client)),
        fingerprint=fingerprint(request),
        end_to_end=request.key.message,
        usages=usages,
    )
    return record, _pack(request.inputs)


def _telling(units: Units, counted: Kind) -> list[tuple[Kind, int]]:
    """The reports to be recorded: those in the service's unit, else those in every unit reported."""
    amounts = {
        Kind.MONEY: units.money,
        Kind.OCTETS: units.octets,
        Kind.SECONDS: units.seconds,
        Kind.UNITS: units.units,
    }
    kinds = (counted,) if amounts[counted] else amounts
    return [(kind, amount) for kind in kinds if (amount := amounts[kind] or 0) > 0]
