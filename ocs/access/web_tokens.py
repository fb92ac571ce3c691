"""JSON Web Tokens (RFC 7519) of an identity provider: who comes with one, and in which roles."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

import jwt
from msgspec import Struct

from ocs.access.roles import CALLER, Authority, CallerRole, authority_of

LOOKS: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
KEYS_BYTES_MAX: Final = 1 << 20
KEPT_MS: Final = 300_000
"""Keys are read again after so long, and when a token names one that is not among them;"""
AGAIN_MS: Final = 10_000
"""but not more often than this: who makes up names of keys has no work done."""
FETCH_S: Final = 5.0


class RefusedWebToken(Exception):
    """It proves nothing; the text says why, for whoever sent it."""


class WebTokenRules(Struct, frozen=True, kw_only=True):
    """What is demanded of a token."""

    issuer: str
    audience: str
    jwks: str
    """https:// or http:// URL, or a file."""
    skew_s: int = 30
    caller_claim: str = "sub"
    roles_claim: str = "roles"
    """Its name, or a path such as realm_access.roles."""
    roles: Mapping[str, str] = {}
    """A value of that claim -> role; empty: they are called alike."""
    algorithms: tuple[str, ...] = ()


class WebTokens:
    """
    roles: those in force, by name
    """

    def __init__(self, rules: WebTokenRules, roles: Mapping[str, CallerRole], now_ms: Callable[[], int]) -> None:
        self._rules, self._roles, self._now_ms = rules, roles, now_ms
        self._keys: dict[str, Any] = {}
        self._read_ms = self._tried_ms = -KEPT_MS
        self._reading = asyncio.Lock()

    async def authority(self, token: str, address: str) -> Authority:
        """Who comes with it. Raises RefusedWebToken."""
        try:
            name = str(jwt.get_unverified_header(token).get("kid", ""))
        except jwt.InvalidTokenError as why:
            raise RefusedWebToken(str(why)) from None
        key = await self._key(name)
        if key is None:
            raise RefusedWebToken("its key is none of the issuer's")
        rules = self._rules
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[*rules.algorithms],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.skew_s,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError) as why:  # TypeError: a key of another kind than it says
            raise RefusedWebToken(str(why)) from None
        caller = claims.get(rules.caller_claim)
        if not isinstance(caller, str) or not CALLER.fullmatch(caller):
            raise RefusedWebToken(f"its claim {rules.caller_claim} names nobody")
        return authority_of(caller, self._given(claims), self._roles, address=address, credential="jwt")

    def _given(self, claims: Any) -> list[str]:
        found: Any = claims
        for part in self._rules.roles_claim.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        values = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        names = self._rules.roles
        return [names.get(value, "") if names else value for value in values if isinstance(value, str)]

    async def _key(self, name: str) -> Any:
        now_ms = self._now_ms()
        if name not in self._keys or now_ms - self._read_ms >= KEPT_MS:
            async with self._reading:
                if now_ms - self._tried_ms >= AGAIN_MS:
                    self._tried_ms = now_ms
                    await self._read()
        if not name and len(self._keys) == 1:  # one key needs no name
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    async def _read(self) -> None:
        """While the keys cannot be read, those that are known are good."""
        try:
            text = await asyncio.to_thread(_fetched, self._rules.jwks)
            found = jwt.PyJWKSet.from_json(text)
        except (OSError, ValueError, jwt.PyJWTError):
            return
        self._keys = {key.key_id or "": key for key in found.keys if key.key_type != "oct"}
        self._read_ms = self._now_ms()


def _fetched(where: str) -> str:
    if "://" not in where:
        return Path(where).read_text(encoding="utf-8")
    try:
        with urlopen(Request(where, headers={"Accept": "application/json"}), timeout=FETCH_S) as answer:
            return bytes(answer.read(KEYS_BYTES_MAX)).decode()
    except URLError as why:
        raise OSError(str(why)) from None
