"""Charging sessions: what is going on, and asking the network to report or to end it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ocs.api import schema
from ocs.api.operation import Call, Operation, Reply
from ocs.api.views import session_view


class OfAccount(Struct, frozen=True, forbid_unknown_fields=True):
    account: schema.Id


async def list_sessions(call: Call) -> Reply:
    account, sessions = await call.desk.read(await call.desk.row(call.query.account))
    views = [session_view(account, session) for session in sessions]
    return Reply(schema.SessionPage(sorted(views, key=lambda view: view.opened)))


async def get_session(call: Call) -> Reply:
    account, session = await call.desk.session(call.path["session"])
    return Reply(session_view(account, session))


async def reauthorize(call: Call) -> Reply:
    return await _push(call, "rar")


async def abort(call: Call) -> Reply:
    return await _push(call, "asr")


async def _push(call: Call, kind: str) -> Reply:
    _, session = await call.desk.session(call.path["session"])
    receipt = await call.desk.push(kind, session)
    return Reply(schema.Push(session.id, str(receipt.result), receipt.host))


PUSHED: Final = "The answer says what became of it: a Result-Code, `no-route` or `timeout`."

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/sessions",
        list_sessions,
        "Sessions of an account: open ones, and closed ones for an hour",
        answer=schema.SessionPage,
        query=OfAccount,
        problems=("not-found",),
    ),
    Operation(
        "POST",
        "/v1/sessions/{session:path}/reauthorize",
        reauthorize,
        "Ask the network to report now and to ask anew (RAR)",
        answer=schema.Push,
        problems=("not-found",),
        description=PUSHED,
    ),
    Operation(
        "POST",
        "/v1/sessions/{session:path}/abort",
        abort,
        "Ask the network to end it (ASR)",
        answer=schema.Push,
        problems=("not-found",),
        description=PUSHED,
    ),
    # Last: its path would match the two above.
    Operation(
        "GET",
        "/v1/sessions/{session:path}",
        get_session,
        "A session with its lines and what they hold",
        answer=schema.Session,
        problems=("not-found",),
    ),
)
