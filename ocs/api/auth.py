"""Who asks: the token of a request, and what its caller may do."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import structs

from ocs.access.roles import ADMIN, Authority
from ocs.access.token_book import TokenBook
from ocs.access.tokens import digest_of
from ocs.api.problems import Problem

TOKEN_FILE: Final = "admin.token"


def token_of(data: Path) -> str:
    """The admin token, made at the first start. Who can read the file may do everything."""
    path = data / TOKEN_FILE
    data.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        token = path.read_text(encoding="ascii").strip()
        if not token:
            raise EmptyToken(f"{path} is empty: remove it, and the next start makes a new token") from None
        return token
    with os.fdopen(handle, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


class EmptyToken(Exception):
    """The token file is empty."""


class Callers:
    """
    tokens: of the administrator, which open whether PostgreSQL answers or not -> name of the caller
    book:   all others; None: there are none

    Tokens are compared by their hash, so that the time of a comparison reveals nothing, not even a length.
    """

    def __init__(self, tokens: Mapping[str, str], book: TokenBook | None = None) -> None:
        self._fixed = [(digest_of(token), caller) for token, caller in tokens.items()]
        self._book = book

    async def authority(self, authorization: str | None, address: str = "") -> Authority:
        """Who asks. Raises Problem for nobody, Away where it cannot be known."""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(
                "unauthorized", f"send `Authorization: Bearer <token>`; the first one is in <data>/{TOKEN_FILE}"
            )
        token = given.strip()
        digest = digest_of(token)
        for known, caller in self._fixed:
            if hmac.compare_digest(known, digest):
                return structs.replace(ADMIN, caller=caller, address=address, credential=TOKEN_FILE)
        found = await self._book.authority(token, address) if self._book is not None else None
        if found is None:
            raise Problem(
                "unauthorized",
                "the token is none of this server, or it is revoked or past its end: the first one is in its"
                f" <data>/{TOKEN_FILE}, others are made by `ocs token create`",
            )
        return found
