"""Authentication: at present one bearer token, written at the first start, for the caller `admin`."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

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
    """Tokens by their hash, so that the time of a comparison reveals nothing about the token, not even its length."""

    def __init__(self, tokens: dict[str, str]) -> None:
        self._callers = [(_digest(token), caller) for token, caller in tokens.items()]

    def caller(self, authorization: str | None) -> str:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            given = _digest(token.strip())
            for digest, caller in self._callers:
                if hmac.compare_digest(digest, given):
                    return caller
            raise Problem(
                "unauthorized", f"the token is not the one of this server: that is in its <data>/{TOKEN_FILE}"
            )
        raise Problem("unauthorized", f"send `Authorization: Bearer <token>`; the token is in <data>/{TOKEN_FILE}")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
