"""Charging sessions: listing them, and asking the network to report or to end them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, structs

from balances.ledger.live_sessions import START, Place
from balances.structs.session import SessionState
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.routes_jobs import job_view
from ocs.api.views import STATES, session_view
from ocs.backoffice import sessions
from ocs.backoffice.errors import Invalid
from ocs.backoffice.sessions import LOOKED_AT_MAX, WantedSessions
from ocs.patterns import looks

STATE_OF: Final = {name: SessionState(state) for state, name in STATES.items()}


class SessionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    account: schema.Id | None = None
    """All of this account, the oldest first; without it, of all accounts, those that hold for longest without a report
    first."""
    peer: schema.Text | None = None
    """Origin-Host of the client."""
    state: Literal["open", "closed", "refused", "abandoned", "unknown", "any"] | None = None
    """Without an account `open` unless given; of an account `any`."""
    after: Annotated[str, looks("[A-Za-z0-9_=-]{0,2000}", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def list_sessions(call: ApiCall) -> ApiReply:
    query: SessionsQuery = call.query
    state = query.state or ("any" if query.account else "open")
    states = None if state == "any" else [STATE_OF[state]]
    wanted = WantedSessions(states, query.peer, _place(query.after), query.limit)
    if query.account is not None:
        found = await sessions.of_account(call.backoffice, query.account, wanted)
    else:
        found = await sessions.of_all(call.backoffice, wanted)
    views = [session_view(one.account, one.session) for one in found.sessions]
    return ApiReply(schema.SessionPage(views, None if found.following is None else _cursor(found.following)))


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(f"{place.due_ms} {place.member}".encode()).decode()


def _place(cursor: str) -> Place:
    if not cursor:
        return START
    try:
        due_ms, _, member = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        return Place(int(due_ms), member)
    except (ValueError, binascii.Error):
        raise Invalid("after", 'expected "next" of the page before') from None


async def get_session(call: ApiCall) -> ApiReply:
    account, session = await sessions.find(call.backoffice, call.path["session"])
    aside = await sessions.set_aside(call.backoffice, account.id, session.id)
    told = await sessions.told(call.backoffice, session.id)
    view = session_view(account, session, aside)
    view = structs.replace(view, jobs=None if told is None else [job_view(row) for row in told])
    return ApiReply(view)


async def reauthorize(call: ApiCall) -> ApiReply:
    return await _ask(call, "rar")


async def abort(call: ApiCall) -> ApiReply:
    return await _ask(call, "asr")


async def _ask(call: ApiCall, kind: Literal["rar", "asr"]) -> ApiReply:
    session, answer = await sessions.ask_network(call.backoffice, call.path["session"], kind)
    return ApiReply(schema.PushView(session.id, str(answer.result), answer.host))


PUSHED: Final = "The answer says what became of it: a Result-Code, `no-route` or `timeout`."

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/sessions",
        list_sessions,
        "Sessions of an account, open ones and closed ones for an hour; or open sessions of all accounts",
        "sessions.read",
        answer=schema.SessionPage,
        query=SessionsQuery,
        problems=("not-found",),
        description="Without an account those that hold for longest without a report come first. A page looks at"
        f" {LOOKED_AT_MAX:,} sessions at most: it may be short, or empty, and still have a `next`.",
    ),
    Operation(
        "POST",
        "/v1/sessions/{session:path}/reauthorize",
        reauthorize,
        "Ask the network to report now and to ask anew (RAR)",
        "sessions.end",
        answer=schema.PushView,
        problems=("not-found",),
        description=PUSHED,
    ),
    Operation(
        "POST",
        "/v1/sessions/{session:path}/abort",
        abort,
        "Ask the network to end it (ASR)",
        "sessions.end",
        answer=schema.PushView,
        problems=("not-found",),
        description=PUSHED,
    ),
    # Last: its path would match the two above.
    Operation(
        "GET",
        "/v1/sessions/{session:path}",
        get_session,
        "A session with its lines and what they hold",
        "sessions.read",
        answer=schema.SessionView,
        problems=("not-found",),
    ),
)
