"""`[access]`: who may do what over the API."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from ocs.access.permissions import can_wait, matching
from ocs.access.roles import CALLER, SHIPPED, CallerRole
from ocs.config.table import ConfigTable, Name, Seconds
from ocs.config.values import Secret
from ocs.patterns import looks

TOKEN_MIN: Final = 32
"""Characters of a token: fewer might be guessed."""


class CertifiedCaller(ConfigTable, frozen=True):
    """Who comes with a client certificate (`http.tls_client_ca`)."""

    subject: Annotated[str, Meta(min_length=1, max_length=255)]
    """Name (DNS, or common name where there is no other) in the certificate."""
    caller: Name
    roles: Annotated[tuple[str, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if not CALLER.fullmatch(self.caller):
            raise ValueError("caller of 1 to 64 visible ASCII characters, and no `;`")


class JsonWebTokens(ConfigTable, frozen=True):
    """Tokens of an identity provider."""

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    jwks: Annotated[str, Meta(min_length=1)]
    """Its keys: a URL, or a file."""
    skew_s: Annotated[int, Meta(ge=0, le=600)] = 30
    """How far its clock and ours may differ."""
    caller_claim: str = "sub"
    roles_claim: str = "roles"
    """Claim that names roles, or a path to it such as realm_access.roles."""
    roles: dict[str, str] = {}
    """What it calls a role -> role; left out: they are called alike."""
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = (
        "RS256",
        "PS256",
        "ES256",
        "EdDSA",
    )

    def __post_init__(self) -> None:
        scheme, colon, _ = self.jwks.partition("://")
        if colon and scheme not in ("http", "https"):
            raise ValueError("jwks as https://, http:// or a file")


class Access(ConfigTable, frozen=True):
    """Who may do what over the API (docs/access.md)."""

    admin_token: Secret = Secret("")
    """The first token, which may do everything; not given: the one in `<data>/admin.token`, made at the first start."""
    roles: dict[Annotated[str, looks("[a-z][a-z0-9-]{0,31}", "a name of small letters, digits and -")], CallerRole] = {}
    """Of one's own, by name; one called as a shipped one takes its place."""
    four_eyes: tuple[str, ...] = ()
    """Permissions, or patterns of them: what they allow waits until a second person approves it."""
    approval_s: Seconds = 86_400
    """How long it waits."""
    jwt: JsonWebTokens | None = None
    certificates: tuple[CertifiedCaller, ...] = ()

    def __post_init__(self) -> None:
        wrong = [one for one in self.four_eyes if not any(map(can_wait, matching((one,))))]
        if wrong:
            raise ValueError(f"four_eyes of permissions that can wait, not {', '.join(map(repr, wrong))}")
        named = [role for one in self.certificates for role in one.roles]
        named += self.jwt.roles.values() if self.jwt is not None else []
        if strange := sorted({role for role in named if role not in self.known_roles}):
            raise ValueError(f"roles that exist ({', '.join(self.known_roles)}), not {', '.join(strange)}")
        if self.admin_token.reveal() and len(self.admin_token.reveal()) < TOKEN_MIN:
            raise ValueError(f"admin_token of at least {TOKEN_MIN} characters")

    @property
    def known_roles(self) -> dict[str, CallerRole]:
        """The shipped ones and those of the file."""
        return {**SHIPPED, **self.roles}

    @property
    def waiting(self) -> frozenset[str]:
        """The permissions whose use waits for a second person."""
        return frozenset(one for one in matching(self.four_eyes) if can_wait(one))
