"""Tokens: how one is written, and their rows in PostgreSQL, which have only its hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

TOKEN: Final = re.compile(r"ocs_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
"""Its id stands in it, so that one row is looked up and compared."""
FIELDS: Final = (
    "id, caller, description, roles, scopes, digest, old_digest, old_until_ms, expires_ms, created_ms, created_by,"
    " revoked_ms, revoked_by, last_ms, last_address"
)
USED_MS: Final = 60_000
"""That a token was used is written once in so long."""


class TokenRow(Struct, frozen=True, kw_only=True):
    id: str
    caller: str
    description: str = ""
    roles: Sequence[str]
    scopes: Sequence[str] = ()
    digest: bytes
    old_digest: bytes | None = None
    old_until_ms: int = 0
    expires_ms: int = 0
    created_ms: int
    created_by: str
    revoked_ms: int = 0
    revoked_by: str = ""
    last_ms: int = 0
    last_address: str = ""

    def state(self, now_ms: int) -> Literal["active", "revoked", "expired"]:
        if self.revoked_ms:
            return "revoked"
        return "expired" if self.expires_ms and self.expires_ms <= now_ms else "active"


def token_text(id_: str, secret: str) -> str:
    """secret: 32 octets in base64url."""
    return f"ocs_{id_}_{secret}"


def id_in(token: str) -> str | None:
    """The id of a token; None: no token of ours is written like this."""
    found = TOKEN.fullmatch(token)
    return found[1] if found else None


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def insert(pg: Any, row: TokenRow) -> None:
    await pg.execute(
        "INSERT INTO tokens (id, caller, description, roles, scopes, digest, expires_ms, created_ms, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row.id,
        row.caller,
        row.description,
        list(row.roles),
        list(row.scopes),
        row.digest,
        row.expires_ms,
        row.created_ms,
        row.created_by,
    )


async def get(pg: Any, id_: str) -> TokenRow | None:
    record = await pg.fetchrow(f"SELECT {FIELDS} FROM tokens WHERE id = $1", id_)
    return TokenRow(**record) if record else None


async def page(pg: Any, after: str, limit: int) -> Sequence[TokenRow]:
    records = await pg.fetch(f"SELECT {FIELDS} FROM tokens WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
    return [TokenRow(**record) for record in records]


async def rotate(pg: Any, id_: str, digest: bytes, old_until_ms: int) -> TokenRow | None:
    """Another secret; the old one opens until then (0: no more)."""
    record = await pg.fetchrow(
        "UPDATE tokens SET digest = $2, old_digest = CASE WHEN $3::bigint > 0 THEN digest END, old_until_ms = $3"
        f" WHERE id = $1 AND revoked_ms = 0 RETURNING {FIELDS}",
        id_,
        digest,
        old_until_ms,
    )
    return TokenRow(**record) if record else None


async def revoke(pg: Any, id_: str, by: str, now_ms: int) -> TokenRow | None:
    """For ever. One that is revoked already stays as it is."""
    record = await pg.fetchrow(
        "UPDATE tokens SET revoked_by = CASE WHEN revoked_ms = 0 THEN $2 ELSE revoked_by END,"
        f" revoked_ms = CASE WHEN revoked_ms = 0 THEN $3 ELSE revoked_ms END WHERE id = $1 RETURNING {FIELDS}",
        id_,
        by,
        now_ms,
    )
    return TokenRow(**record) if record else None


async def used(pg: Any, id_: str, address: str, now_ms: int) -> None:
    await pg.execute(
        "UPDATE tokens SET last_ms = $2, last_address = $3 WHERE id = $1 AND last_ms < $4",
        id_,
        now_ms,
        address,
        now_ms - USED_MS,
    )
