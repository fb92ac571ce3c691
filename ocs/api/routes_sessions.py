"""Charging sessions: what is going on, and asking the network to report or to end it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from balances.ledger import suspense
from balances.ledger.live_sessions import START, Place, by_due
from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.problems import Problem
from ocs.api.views import session_view
from ocs.patterns import looks
from ocs.stores.bounded_postgres import Away

LOOKED_AT_MAX: Final = 2_000
"""Sessions read for one page, whether they are of the peer and state that is wanted or not."""


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
    wanted: SessionsQuery = call.query
    state = wanted.state or ("any" if wanted.account else "open")
    peer = wanted.peer.lower() if wanted.peer is not None else None  # identities compare without letter case

    def fits(view: schema.SessionView) -> bool:
        return state in ("any", view.state) and peer in (None, view.peer.lower())

    if wanted.account is not None:
        account, sessions = await call.desk.read(await call.desk.row(wanted.account))
        after = _place(wanted.after)
        placed = sorted((Place(session.opened_ms, session.id), session) for session in sessions)
        here = [(place, view) for place, one in placed if place > after and fits(view := session_view(account, one))]
        page = here[: wanted.limit]
        following = _cursor(page[-1][0]) if len(here) > len(page) else None
        return ApiReply(schema.SessionPage([view for _, view in page], following))
    views, looked_at = [], 0
    async for found in by_due(call.desk.redis, _place(wanted.after)):
        view = session_view(found.account, found.session)
        if fits(view):
            views.append(view)
        looked_at += 1
        if len(views) == wanted.limit or looked_at == LOOKED_AT_MAX:
            return ApiReply(schema.SessionPage(views, _cursor(found.place)))
    return ApiReply(schema.SessionPage(views, None))


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(f"{place.due_ms} {place.member}".encode()).decode()


def _place(cursor: str) -> Place:
    if not cursor:
        return START
    try:
        due_ms, _, member = base64.urlsafe_b64decode(cursor).decode().partition(" ")
        return Place(int(due_ms), member)
    except (ValueError, binascii.Error):
        raise Problem("invalid", 'after: expected "next" of the page before') from None


async def get_session(call: ApiCall) -> ApiReply:
    account, session = await call.desk.session(call.path["session"])
    try:
        aside = await suspense.of_session(call.desk.pool, account.id, session.id)
    except Away:  # the session itself is in Redis
        aside = None
    return ApiReply(session_view(account, session, aside))


async def reauthorize(call: ApiCall) -> ApiReply:
    return await _push(call, "rar")


async def abort(call: ApiCall) -> ApiReply:
    return await _push(call, "asr")


async def _push(call: ApiCall, kind: str) -> ApiReply:
    _, session = await call.desk.session(call.path["session"])
    receipt = await call.desk.push(kind, session)
    return ApiReply(schema.PushView(session.id, str(receipt.result), receipt.host))


PUSHED: Final = "The answer says what became of it: a Result-Code, `no-route` or `timeout`."

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/sessions",
        list_sessions,
        "Sessions of an account, open ones and closed ones for an hour; or open sessions of all accounts",
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
        answer=schema.PushView,
        problems=("not-found",),
        description=PUSHED,
    ),
    Operation(
        "POST",
        "/v1/sessions/{session:path}/abort",
        abort,
        "Ask the network to end it (ASR)",
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
        answer=schema.SessionView,
        problems=("not-found",),
    ),
)
