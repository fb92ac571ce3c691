"""Recurring fees: the run, what is due, what comes next, what a tariff would cost."""

from __future__ import annotations

from typing import Final

from balances.structs.posting import FeeUnits
from ocs.api import schema_fees as shown
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import ms_of, time_of, time_or_none
from ocs.backoffice import fees
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.fees import FeeState, RunStatus, WantedQuote
from ocs.fees.dry_run import ExpectedFee
from tariffs.fee_periods import day_text
from tariffs.phrases import amount
from tariffs.units import Kind


def _run(status: RunStatus) -> ApiReply:
    return ApiReply(
        shown.FeeRunView(
            paused_by=status.paused_by or None,
            paused_since=time_or_none(status.paused_ms),
            began=time_or_none(status.began_ms),
            moved=time_or_none(status.moved_ms),
            looked=status.looked,
            taken=status.taken,
            short=status.short,
            due=status.due,
            oldest=time_or_none(status.oldest_ms),
            next=time_or_none(status.next_ms),
            waiting=status.waiting,
            troubled=status.troubled,
        )
    )


def _included(units: FeeUnits) -> str:
    price = f" for {money(units.price)} per {units.per}" if units.price else ""
    return f"{quantity(units.kind, units.amount)} {KINDS[Kind(units.kind)]} {units.name}{price}"


def _expected(one: ExpectedFee) -> shown.ExpectedFeeView:
    return shown.ExpectedFeeView(
        account=one.assignment.account,
        subscriber=one.assignment.subscriber,
        tariff=one.assignment.tariff,
        fee=one.key.fee,
        from_day=one.key.from_day,
        until_day=one.key.until_day,
        due=time_of(one.fee.event_ms),
        currency=one.assignment.currency,
        amount=money(one.micro),
        includes=[_included(each) for each in one.fee.units],
        made_of=[f"{amount(after)} {name}" for name, after in one.trace],
    )


async def get_status(call: ApiCall) -> ApiReply:
    return _run(await fees.status(call.backoffice))


async def pause_run(call: ApiCall) -> ApiReply:
    return _run(await fees.pause(call.backoffice, call.caller))


async def resume_run(call: ApiCall) -> ApiReply:
    return _run(await fees.resume(call.backoffice))


async def list_due(call: ApiCall) -> ApiReply:
    query: shown.DueFeesQuery = call.query
    page = await fees.due_page(call.backoffice, ms_of(query.at, "at"), query.after, query.limit)
    return ApiReply(shown.DueFees([_expected(one) for one in page.fees], page.next))


def _state(state: FeeState) -> shown.FeeView:
    progress, of = state.progress, state.assignment
    word = "short" if progress.short else "running"
    return shown.FeeView(
        account=of.account,
        tariff=of.tariff,
        fee=state.fee,
        began=time_of(progress.start_ms),
        ends=time_or_none(of.ended_ms),
        settled_until=day_text(progress.day) if progress.day else None,
        state="ended" if progress.ended else word,
        paid=money(progress.paid),
        tried_again=time_or_none(progress.try_ms) if progress.short else None,
        next=_expected(state.next) if state.next is not None else None,
    )


async def list_subscriber_fees(call: ApiCall) -> ApiReply:
    found = await fees.of_subscriber(call.backoffice, call.path["id"])
    return ApiReply(shown.FeeList([_state(one) for one in found]))


async def explain_fees(call: ApiCall) -> ApiReply:
    query: shown.FeeQuoteQuery = call.query
    wanted = WantedQuote(
        query.subscriber, ms_of(query.from_, "from"), ms_of(query.until, "until"), ms_of(query.at, "at")
    )
    found = await fees.quote(call.backoffice, call.path["id"], wanted)
    words = [shown.FeeWords(rule.name, [*rule.in_words(found.written_in)]) for rule in found.rules]
    periods = [_expected(one) for one in found.fees]
    return ApiReply(shown.FeeQuoteView(found.tariff, found.currency, words, periods, found.why))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/fees/status",
        get_status,
        "How far the run is that settles recurring fees",
        "fees.read",
        answer=shown.FeeRunView,
    ),
    Operation(
        "POST",
        "/v1/fees/pause",
        pause_run,
        "Stop the run after the batch that is under way; what is due stays due",
        "fees.run",
        answer=shown.FeeRunView,
    ),
    Operation(
        "POST",
        "/v1/fees/resume",
        resume_run,
        "Let the run go on where it was",
        "fees.run",
        answer=shown.FeeRunView,
    ),
    Operation(
        "GET",
        "/v1/fees/due",
        list_due,
        "A dry run: what would be charged up to an instant, if there were money enough",
        "fees.read",
        answer=shown.DueFees,
        query=shown.DueFeesQuery,
        description="Nothing moves. A page is of so many assignments, the earliest due first.",
    ),
    Operation(
        "GET",
        "/v1/subscribers/{id}/fees",
        list_subscriber_fees,
        "Recurring fees of a subscriber: how far they are settled, and what comes next",
        "subscribers.read",
        answer=shown.FeeList,
        problems=("not-found",),
    ),
    Operation(
        "GET",
        "/v1/explain/tariffs/{id}/fees",
        explain_fees,
        "Recurring fees of a tariff: what its document says, and what an assignment would cost, period by period",
        "tariffs.read",
        answer=shown.FeeQuoteView,
        query=shown.FeeQuoteQuery,
        problems=("not-found",),
    ),
)
