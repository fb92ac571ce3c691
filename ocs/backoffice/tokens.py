"""Tokens: made, rotated and revoked. Nobody gives more than he may do himself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from ocs.access import tokens
from ocs.access.permissions import unknown_patterns
from ocs.access.roles import Authority, authority_of
from ocs.access.tokens import TokenRow, digest_of, token_text
from ocs.backoffice.errors import Conflict, Forbidden, Invalid, NotFound

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


class WantedToken(Struct, frozen=True, kw_only=True):
    caller: str
    roles: Sequence[str]
    scopes: Sequence[str] = ()
    description: str = ""
    expires_ms: int = 0
    """0: never."""


async def create(
    backoffice: BackOffice, wanted: WantedToken, by: Authority, id_: str, secret: str
) -> tuple[TokenRow, str]:
    """The token with its text, which is nowhere else from then on.

    id_, secret: made by chance (ocs.access.tokens.token_text)
    """
    if strange := [role for role in wanted.roles if role not in backoffice.roles]:
        raise Invalid("roles", f"expected some of {', '.join(backoffice.roles)}, found {', '.join(strange)}")
    if strange := unknown_patterns(wanted.scopes):
        raise Invalid("scopes", f"no permission is called {', '.join(strange)}")
    now_ms = backoffice.now_ms()
    if wanted.expires_ms and wanted.expires_ms <= now_ms:
        raise Invalid("expires", "in the future")
    gives = authority_of(wanted.caller, wanted.roles, backoffice.roles, scopes=wanted.scopes)
    _check_giver(by, gives)
    text = token_text(id_, secret)
    row = TokenRow(
        id=id_,
        caller=wanted.caller,
        description=wanted.description,
        roles=wanted.roles,
        scopes=wanted.scopes,
        digest=digest_of(text),
        expires_ms=wanted.expires_ms,
        created_ms=now_ms,
        created_by=by.caller,
    )
    await tokens.insert(backoffice.pool, row)
    backoffice.tokens.forget(id_)
    return row, text


def _check_giver(by: Authority, gives: Authority) -> None:
    """Neither a permission beyond one's own, nor one of one's own without its limits."""
    beyond = gives.permissions - by.permissions
    if beyond:
        raise Forbidden(f"{by.caller} lacks {', '.join(sorted(beyond))}, and cannot give it")
    if "admin" not in by.roles and (other := gives.roles.keys() - by.roles.keys()):
        raise Forbidden(f"{by.caller} has not the role {', '.join(sorted(other))}, and cannot give it")


async def get(backoffice: BackOffice, id_: str) -> TokenRow:
    row = await tokens.get(backoffice.pool, id_)
    if row is None:
        raise NotFound(f"there is no token {id_}")
    return row


async def page(backoffice: BackOffice, after: str, limit: int) -> Sequence[TokenRow]:
    return await tokens.page(backoffice.pool, after, limit)


async def rotate(backoffice: BackOffice, id_: str, by: Authority, secret: str, overlap_s: int) -> tuple[TokenRow, str]:
    """Another secret; the old one opens for `overlap_s` longer. Who has the permission `tokens.write` rotates those
    that he could make, everybody the one he comes with."""
    row = await get(backoffice, id_)
    if by.credential != id_:
        if not by.may("tokens.write"):
            raise Forbidden(
                f"{by.caller} lacks the permission tokens.write, and {id_} is another token than the one used"
            )
        _check_giver(by, authority_of(row.caller, row.roles, backoffice.roles, scopes=row.scopes))
    text = token_text(id_, secret)
    until_ms = backoffice.now_ms() + overlap_s * 1_000 if overlap_s else 0
    changed = await tokens.rotate(backoffice.pool, id_, digest_of(text), until_ms)
    if changed is None:
        raise Conflict(f"token {id_} is revoked: make another one")
    backoffice.tokens.forget(id_)
    return changed, text


async def revoke(backoffice: BackOffice, id_: str, by: Authority) -> TokenRow:
    """For ever: at once in this process, within seconds in all others."""
    row = await tokens.revoke(backoffice.pool, id_, by.caller, backoffice.now_ms())
    if row is None:
        raise NotFound(f"there is no token {id_}")
    backoffice.tokens.forget(id_)
    return row
