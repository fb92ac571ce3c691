"""Money at stake (docs/monitoring.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_exposure import AsideView, ExposureView, HeldView, OwedView, UnheldView, WaitingView
from ocs.backoffice import exposure
from ocs.backoffice.amounts import money


async def get_exposure(call: ApiCall) -> ApiReply:
    found = await exposure.exposure(call.backoffice)
    owed, aside, waiting, unheld = found.owed, found.set_aside, found.waiting, found.unheld
    return ApiReply(
        ExposureView(
            total=_texts(found.total()),
            held=[HeldView(one.peer, one.currency, one.sessions, money(one.micro)) for one in found.held],
            complete=found.complete,
            held_on_credit=_texts(found.on_credit),
            owed=None
            if owed is None
            else [OwedView(currency, one.accounts, money(one.micro)) for currency, one in sorted(owed.items())],
            set_aside=None if aside is None else [AsideView(one.currency, one.uses, money(one.micro)) for one in aside],
            waiting=None
            if waiting is None
            else WaitingView(waiting.entries, _texts(waiting.debited), waiting.complete),
            unheld=None if unheld is None else [UnheldView(one.peer, one.currency, money(one.micro)) for one in unheld],
            unknown=found.unknown,
        )
    )


def _texts(amounts: Mapping[str, int]) -> dict[str, str]:
    return {currency: money(micro) for currency, micro in sorted(amounts.items())}


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/exposure",
        get_exposure,
        "Money at stake: held and not reported, owed, set aside, not in PostgreSQL yet",
        "ledger.read",
        answer=ExposureView,
        description="By currency, what is held also by peer. It reads up to 20,000 open sessions of the live store:"
        " for a look now and then, not for a scrape. What cannot be read within 5 s is named in `unknown`; 503 where"
        " nothing can.",
    ),
)
