"""How it is answered that something was not done: the one place where any error becomes a response."""

from __future__ import annotations

from starlette.responses import Response

from ocs.api.problems import Problem, problem_of, refusal_of
from ocs.backoffice.backoffice import trouble_of
from ocs.backoffice.errors import BackOfficeError
from ocs.stores.bounded_postgres import Away
from ocs.telemetry.log import logger


def refused(path: str, problem: Problem) -> Response:
    headers = {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status == 429:
        headers["Retry-After"] = str(problem.more["retry_after_s"])
    if problem.status == 503:
        headers["Retry-After"] = "1"
    refusal = refusal_of(problem, path)
    return Response(refusal.body, refusal.status, headers, media_type=refusal.media_type)


def problem_with(why: Exception, operation: str) -> Problem:
    """What is answered for an error of an operation; one of ours is in the log."""
    if isinstance(why, Problem):
        return why
    if isinstance(why, BackOfficeError):
        return problem_of(why)
    trouble = trouble_of(why)
    if trouble is None:
        logger().error("api.failed", operation=operation, exc_info=why)
        return Problem("internal", "it is in the log; nothing about you is wrong")
    if not isinstance(why, Away):  # that says itself what is the matter
        logger().warning("api.store_unavailable", operation=operation, why=repr(why))
    return problem_of(trouble)
