"""Who asks: the token of a request, and what its caller may do."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from msgspec import structs

from ocs.access.roles import ADMIN, Authority, CallerRole, authority_of
from ocs.access.token_book import TokenBook
from ocs.access.tokens import digest_of
from ocs.access.web_tokens import LOOKS, RefusedWebToken, WebTokenRules, WebTokens
from ocs.api.problems import Problem
from ocs.config.tree import Config

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
    tokens:       of the administrator, which open whether PostgreSQL answers or not -> name of the caller
    book:         all others; None: there are none
    web_tokens:   those of an identity provider
    certificates: name in a client's certificate, in lower case -> who comes with it

    Tokens are compared by their hash, so that the time of a comparison reveals nothing, not even a length.
    """

    def __init__(
        self,
        tokens: Mapping[str, str],
        book: TokenBook | None = None,
        *,
        web_tokens: WebTokens | None = None,
        certificates: Mapping[str, Authority] | None = None,
    ) -> None:
        self._fixed = [
            (digest_of(token), structs.replace(ADMIN, caller=caller, credential=TOKEN_FILE))
            for token, caller in tokens.items()
        ]
        self._book, self._web_tokens, self._certificates = book, web_tokens, certificates or {}

    async def authority(self, authorization: str | None, address: str = "", names: Collection[str] = ()) -> Authority:
        """Who asks: by a token, else by a certificate. Raises Problem for nobody, Away where it cannot be known.

        names: of the certificate that was shown and verified
        """
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._by_token(given.strip(), address)
        for name in names:
            if name in self._certificates:
                return structs.replace(self._certificates[name], address=address)
        if names:
            raise Problem("unauthorized", f"no caller is named {', '.join(sorted(names))} (access.certificates)")
        raise Problem("unauthorized", f"send `Authorization: Bearer <token>`; the first one is in <data>/{TOKEN_FILE}")

    def at_hand(self, authorization: str, names: Collection[str] = ()) -> Authority | None:
        """Who asks, but not from where, if that is known without waiting for anything; None: `authority` says who, or
        why nobody.

        authorization: "" where none was sent
        """
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return next((self._certificates[name] for name in names if name in self._certificates), None)
        token = given.strip()
        digest = digest_of(token)
        for known, administrator in self._fixed:
            if hmac.compare_digest(known, digest):
                return administrator
        return None if self._book is None else self._book.at_hand(token, digest)

    async def _by_token(self, token: str, address: str) -> Authority:
        digest = digest_of(token)
        for known, administrator in self._fixed:
            if hmac.compare_digest(known, digest):
                return structs.replace(administrator, address=address)
        if self._web_tokens is not None and LOOKS.fullmatch(token):
            try:
                return await self._web_tokens.authority(token, address)
            except RefusedWebToken as why:
                raise Problem("unauthorized", f"the token is refused: {why}") from None
        found = await self._book.authority(token, address) if self._book is not None else None
        if found is None:
            raise Problem(
                "unauthorized",
                "the token is none of this server, or it is revoked or past its end: the first one is in its"
                f" <data>/{TOKEN_FILE}, others are made by `ocs token create`",
            )
        return found


def callers_of(config: Config, book: TokenBook, roles: Mapping[str, CallerRole], now_ms: Callable[[], int]) -> Callers:
    """Everybody whom the configuration lets in."""
    access = config.access
    web_tokens = None
    if access.jwt is not None:
        web_tokens = WebTokens(WebTokenRules(**structs.asdict(access.jwt)), roles, now_ms)
    certificates = {
        one.subject.lower(): authority_of(one.caller, one.roles, roles, credential="certificate")
        for one in access.certificates
    }
    admin = access.admin_token.reveal() or token_of(config.data)
    return Callers({admin: "admin"}, book, web_tokens=web_tokens, certificates=certificates)
