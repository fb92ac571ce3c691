"""What the API gives about RADIUS clients."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ocs.api.texts import Time

Policy = Literal["learn", "require", "check"]


class RadiusClientView(Struct, frozen=True):
    """A block of the configuration."""

    address: str
    """With the name of its certificate and @ in front, where it has one."""
    group: str
    profile: str
    service: str
    message_authenticator: Policy
    limit_proxy_state: Policy
    rate_max: int


class HabitView(Struct, frozen=True):
    policy: Policy
    strictness: Literal["learn", "warn", "require"]
    """`require`: a request that does not agree with it is dropped."""
    kept: int
    """Requests that agreed with it."""
    since: Time | None
    broken: int
    """Requests that did not, and were served."""
    last_broken: Time | None
    demanded_since: Time | None
    """By what was learnt."""


class RadiusAddressView(Struct, frozen=True):
    """An address that a client sends from."""

    address: str
    """By RadSec with `tls:` in front."""
    client: str
    """`address` of its block when it was heard of last."""
    group: str
    profile: str
    seen: Time | None
    signed: HabitView
    """Its Access-Requests carry Message-Authenticator."""
    direct: HabitView
    """They carry no Proxy-State unless they are signed."""
    dropped: dict[str, int]
    """By reason."""


class RadiusClientPage(Struct, frozen=True):
    clients: list[RadiusClientView]
    """As this host is configured."""
    items: list[RadiusAddressView]
    """Addresses, the one that was heard of last first."""
    next: str | None


class HomeServerView(Struct, frozen=True):
    """Who authenticates EAP logins, as the workers of all hosts find it."""

    address: str
    state: Literal["up", "suspect", "dead", "unknown"]
    """As the worker finds it that finds it best; `unknown`: no worker has said anything."""
    since: Time | None
    workers: dict[str, int]
    """How many of them find it so, by state."""
    outstanding: int
    """Requests on their way to it."""
    counts: dict[str, int]
    """What came of requests since the workers began: answered, unanswered, unsigned, forged."""


class HomeServerPage(Struct, frozen=True):
    items: list[HomeServerView]
