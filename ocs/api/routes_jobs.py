"""Enforcement jobs: what the network was told of which session, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_jobs import JobAttempt, JobPage, JobView, State
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import jobs
from ocs.backoffice.amounts import money
from ocs.backoffice.jobs import WantedJobs
from ocs.enforcement.machine import OPEN
from ocs.patterns import looks


class JobsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    account: schema.Id | None = None
    session: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    peer: schema.Text | None = None
    """Origin-Host of the client."""
    state: State | Literal["open"] | None = None
    """`open`: something may still be sent."""
    before: Annotated[str, looks(r"([0-9]{1,16}:[0-9a-f-]{1,80})?", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def list_jobs(call: ApiCall) -> ApiReply:
    query: JobsQuery = call.query
    made_ms, _, id_ = query.before.partition(":")
    states = None if query.state is None else sorted(OPEN) if query.state == "open" else [query.state]
    rows = await jobs.page(
        call.backoffice,
        WantedJobs(
            account=query.account,
            session=query.session,
            peer=query.peer,
            states=states,
            before=(int(made_ms or 2**62), id_),
            limit=query.limit,
        ),
    )
    full = len(rows) == query.limit
    following = f"{rows[-1]['made_ms']}:{rows[-1]['id']}" if full else None
    return ApiReply(JobPage([job_view(row) for row in rows], following))


async def get_job(call: ApiCall) -> ApiReply:
    return ApiReply(job_view(*await jobs.get(call.backoffice, call.path["id"])))


async def retry(call: ApiCall) -> ApiReply:
    return ApiReply(job_view(await jobs.wish(call.backoffice, call.path["id"], "retry", call.caller)))


async def cancel(call: ApiCall) -> ApiReply:
    return ApiReply(job_view(await jobs.wish(call.backoffice, call.path["id"], "cancel", call.caller)))


def job_view(row: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]] | None = None) -> JobView:
    return JobView(
        id=row["id"],
        account=row["account"],
        subscriber=row["subscriber"],
        session=row["session"],
        incarnation=row["incarnation"],
        service=row["service"],
        peer=row["peer"],
        cause=row["cause"],
        action=row["action"],
        state=row["state"],
        why=row["why"],
        attempts=row["attempts"],
        result=row["result"],
        generation=row["generation"],
        crossed=time_of(row["crossed_ms"]),
        due=time_of(row["due_ms"]) if row["ended_ms"] is None else None,
        sent=time_or_none(row["sent_ms"]),
        acknowledged=time_or_none(row["acknowledged_ms"]),
        effective=time_or_none(row["effective_ms"]),
        ended=time_or_none(row["ended_ms"]),
        held=money(row["bound_micro"]),
        used=money(row["used_micro"]),
        wish=row["wish"],
        made_of=f"{row['shard']}-{row['epoch']}-{row['n']}",
        tries=None if attempts is None else [_attempt(one) for one in attempts],
    )


def _attempt(row: Mapping[str, Any]) -> JobAttempt:
    return JobAttempt(
        number=row["number"],
        action=row["action"],
        time=time_of(row["at_ms"]),
        ended=time_of(row["ended_ms"]),
        result=row["result"],
        host=row["host"],
        by=row["by"],
    )


SOON: Final = "The keeper does it within a moment: look at the job again. `wish` says what it has not seen yet."

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/jobs",
        list_jobs,
        "Sessions the network is told about, and what came of it; the newest first",
        "jobs.read",
        answer=JobPage,
        query=JobsQuery,
        description="A suspension, a bar, a lower limit or money that came in makes a job for each session concerned."
        " From PostgreSQL, which follows within a second; what has ended is listed for `enforcement.kept_s`.",
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}",
        get_job,
        "A job with its attempts",
        "jobs.read",
        answer=JobView,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/jobs/{id}/retry",
        retry,
        "Try a job again that has failed, was given up or was cancelled",
        "jobs.write",
        answer=JobView,
        problems=("not-found", "conflict"),
        description=SOON,
    ),
    Operation(
        "POST",
        "/v1/jobs/{id}/cancel",
        cancel,
        "End a job: nothing more is sent for it",
        "jobs.write",
        answer=JobView,
        problems=("not-found", "conflict"),
        description=SOON,
    ),
)
