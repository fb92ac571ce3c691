"""Tokens, roles, and who one is."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.access.permissions import KNOWN, PERMISSIONS, matching
from ocs.access.tokens import TokenRow
from ocs.api import schema, schema_access
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import ms_of, time_of, time_or_none
from ocs.backoffice import tokens
from ocs.backoffice.tokens import WantedToken


class TokenQuery(Struct, frozen=True, forbid_unknown_fields=True):
    after: schema.After = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def token_view(row: TokenRow, now_ms: int, token: str | None = None) -> schema_access.TokenView:
    return schema_access.TokenView(
        id=row.id,
        caller=row.caller,
        description=row.description,
        roles=list(row.roles),
        scopes=list(row.scopes),
        state=row.state(now_ms),
        expires=time_or_none(row.expires_ms),
        created=time_of(row.created_ms),
        created_by=row.created_by,
        last_used=time_or_none(row.last_ms),
        last_address=row.last_address,
        old_secret_until=time_or_none(row.old_until_ms) if row.old_until_ms > now_ms else None,
        revoked=time_or_none(row.revoked_ms),
        revoked_by=row.revoked_by,
        token=token,
    )


async def create_token(call: ApiCall) -> ApiReply:
    body: schema_access.TokenPost = call.body
    wanted = WantedToken(
        caller=body.caller,
        roles=body.roles,
        scopes=body.scopes,
        description=body.description,
        expires_ms=ms_of(body.expires, "expires") or 0,
    )
    row, text = await tokens.create(
        call.backoffice, wanted, call.authority, secrets.token_hex(6), secrets.token_urlsafe(32)
    )
    return ApiReply(token_view(row, call.backoffice.now_ms(), text), 201)


async def list_tokens(call: ApiCall) -> ApiReply:
    query: TokenQuery = call.query
    now_ms = call.backoffice.now_ms()
    items = [token_view(row, now_ms) for row in await tokens.page(call.backoffice, query.after, query.limit)]
    return ApiReply(schema_access.TokenPage(items, items[-1].id if len(items) == query.limit else None))


async def get_token(call: ApiCall) -> ApiReply:
    return ApiReply(token_view(await tokens.get(call.backoffice, call.path["id"]), call.backoffice.now_ms()))


async def rotate_token(call: ApiCall) -> ApiReply:
    body: schema_access.TokenRotation = call.body
    row, text = await tokens.rotate(
        call.backoffice, call.path["id"], call.authority, secrets.token_urlsafe(32), body.overlap_s
    )
    return ApiReply(token_view(row, call.backoffice.now_ms(), text))


async def revoke_token(call: ApiCall) -> ApiReply:
    return ApiReply(
        token_view(await tokens.revoke(call.backoffice, call.path["id"], call.authority), call.backoffice.now_ms())
    )


async def list_roles(call: ApiCall) -> ApiReply:
    roles = [
        schema_access.RoleView(
            name,
            sorted(matching(role.permissions)),
            [schema_access.RoleLimit(one.permission, one.unit, one.each, one.day) for one in role.limits],
        )
        for name, role in sorted(call.backoffice.roles.items())
    ]
    waiting = call.backoffice.access.waiting
    permissions = [schema_access.PermissionView(name, allows, name in waiting) for name, allows in PERMISSIONS.items()]
    return ApiReply(schema_access.RoleList(roles, permissions))


async def who_am_i(call: ApiCall) -> ApiReply:
    who = call.authority
    return ApiReply(schema_access.Me(who.caller, who.credential, sorted(who.roles), sorted(who.permissions)))


VIEW: Final = schema_access.TokenView

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/tokens",
        create_token,
        "Make a token",
        "tokens.write",
        answer=VIEW,
        status=201,
        body=schema_access.TokenPost,
        description="The answer has the token itself, which is shown only now; the database has its hash. Nobody gives"
        " a permission that he has not himself.",
    ),
    Operation(
        "GET", "/v1/tokens", list_tokens, "Tokens", "tokens.read", answer=schema_access.TokenPage, query=TokenQuery
    ),
    Operation("GET", "/v1/tokens/{id}", get_token, "A token", "tokens.read", answer=VIEW, problems=("not-found",)),
    Operation(
        "POST",
        "/v1/tokens/{id}/rotate",
        rotate_token,
        "Another secret; both open for a while",
        KNOWN,
        answer=VIEW,
        body=schema_access.TokenRotation,
        problems=("not-found", "conflict"),
        description="Everybody may rotate the token he comes with; others need `tokens.write`.",
    ),
    Operation(
        "POST",
        "/v1/tokens/{id}/revoke",
        revoke_token,
        "It opens nothing any more",
        "tokens.write",
        answer=VIEW,
        problems=("not-found",),
        description="At once here, within five seconds in API processes of other hosts.",
    ),
    Operation(
        "GET",
        "/v1/roles",
        list_roles,
        "Roles with their limits, and all permissions",
        KNOWN,
        answer=schema_access.RoleList,
    ),
    Operation("GET", "/v1/me", who_am_i, "Who you are, and what you may do", KNOWN, answer=schema_access.Me),
)
