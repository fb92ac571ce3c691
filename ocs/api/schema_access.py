"""What the API takes and gives about tokens, roles, and what waits for a second person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from ocs.api import schema
from ocs.api.texts import Time
from ocs.patterns import looks

RoleName = Annotated[str, looks("[a-z][a-z0-9-]{0,31}", "the name of a role", examples=["cashier"])]
Pattern = Annotated[
    str,
    looks(r"\*|[a-z*-]+\.[a-z*-]+", "a permission such as accounts.read, or accounts.*, *.read, *", max_length=64,
          examples=["accounts.read"]),
]  # fmt: skip


class TokenPost(schema.Input, frozen=True):
    caller: schema.Id
    """Person or program it is given to: the actor of all that is done with it. Two tokens of one caller are one person
    where a second one has to approve."""
    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=16)]
    scopes: Annotated[list[Pattern], Meta(max_length=64)] = field(default_factory=list)
    """It is narrowed to these permissions; empty: all that its roles allow."""
    description: schema.Text = ""
    expires: Time | None = None
    """null: never."""


class TokenRotation(schema.Input, frozen=True):
    overlap_s: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 86_400
    """How long the old secret opens too; 0: it ends now."""


class TokenView(Struct, frozen=True):
    id: str
    caller: str
    description: str
    roles: list[str]
    scopes: list[str]
    state: Literal["active", "expired", "revoked"]
    expires: Time | None
    created: Time
    created_by: str
    last_used: Time | None
    """To the minute."""
    last_address: str
    old_secret_until: Time | None
    """Until then the secret before the last rotation opens too."""
    revoked: Time | None
    revoked_by: str
    token: str | None = None
    """Only where it was made just now; it is not shown again."""


class TokenPage(Struct, frozen=True):
    items: list[TokenView]
    next: str | None


class RoleLimit(Struct, frozen=True):
    permission: str
    unit: str
    each: str | None
    day: str | None


class RoleView(Struct, frozen=True):
    name: str
    permissions: list[str]
    """With all patterns written out."""
    limits: list[RoleLimit]


class PermissionView(Struct, frozen=True):
    name: str
    allows: str
    waits: bool
    """For a second person, as the configuration says (`access.four_eyes`)."""


class RoleList(Struct, frozen=True):
    roles: list[RoleView]
    permissions: list[PermissionView]


class Me(Struct, frozen=True):
    """Who asks."""

    caller: str
    credential: str
    """What it was known by: id of a token, or `admin.token`."""
    roles: list[str]
    permissions: list[str]


class ApprovalView(Struct, frozen=True):
    """Something that waits for a second person, or did."""

    approval: str
    state: Literal["pending", "approved", "done", "failed", "rejected", "expired"]
    """`approved`: it is being done."""
    caller: str
    """Who asked for it."""
    address: str
    permission: str
    operation: str
    target: str
    """Method and path."""
    body: Any
    """What was asked, where it is JSON; else null."""
    asked: Time
    expires: Time
    decided: Time | None
    decided_by: str
    reason: str
    status: int | None
    """What it was answered with, once it was done."""
    answer: Any


class ApprovalPage(Struct, frozen=True):
    items: list[ApprovalView]
    next: str | None


class Decision(schema.Input, frozen=True):
    reason: schema.Text = ""
