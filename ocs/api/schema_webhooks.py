"""What the API takes and gives about webhooks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from ocs.api import schema
from ocs.api.texts import Time
from ocs.events.webhooks.forms import WebhookForm
from ocs.patterns import looks

HookUrl = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2_048,
        description="https; http only where `webhooks.allow_http` says so. Redirects are not followed",
        examples=["https://crm.example.net/ocs-events"],
    ),
]
EventType = Annotated[
    str,
    looks(
        r"[a-z_]+(\.[a-z_]+|\.\*)",
        "a type of event such as account.suspended, or session.* for all that begin so",
        max_length=64,
        examples=["account.suspended"],
    ),
]
EventTypes = Annotated[list[EventType], Meta(max_length=64)]
Accounts = Annotated[list[schema.Id], Meta(max_length=1_000)]
ServiceNames = Annotated[list[schema.Tag], Meta(max_length=64)]
EventId = Annotated[
    str, looks(r"[^\x00-\x1f]*", "the id of an event", min_length=1, max_length=512, examples=["17-1796021000-42-1"])
]


class WebhookPost(schema.Input, frozen=True):
    url: HookUrl
    id: schema.Id | None = None
    """A name of yours: the same again is refused. Left out: one is made up."""
    types: EventTypes = field(default_factory=list)
    """Which events: empty for all but those that have to be named (docs/events.md)."""
    accounts: Accounts = field(default_factory=list)
    """Of which accounts: empty for all."""
    services: ServiceNames = field(default_factory=list)
    """About which services: empty for all, and for events about none."""
    description: schema.Text = ""
    after: EventId | None = None
    """Begin after this event, where it is still kept. Left out: with what happens from now on."""


class WebhookPatch(schema.Input, frozen=True):
    """What is left out stays as it is."""

    url: HookUrl | None = None
    types: EventTypes | None = None
    accounts: Accounts | None = None
    services: ServiceNames | None = None
    description: schema.Text | None = None


class SecretRotation(schema.Input, frozen=True):
    overlap_s: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 86_400
    """How long deliveries carry the signatures of both secrets; 0: the old one, which somebody else has, ends now."""


class WebhookView(Struct, frozen=True):
    id: str
    form: WebhookForm
    """`tmf654`: a hub of TMF654, told in TM Forum's form."""
    url: str
    description: str
    types: list[str]
    accounts: list[str]
    services: list[str]
    state: Literal["active", "failing", "paused"]
    """`failing`: its receiver is down and is tried now and then; `paused`: see paused_for."""
    paused_for: Literal["person", "failing", "gone"] | None
    """`failing`: it was down for too long, is still tried, and goes on by itself once an attempt succeeds; `gone`:
    it answered 410; `person`: by hand."""
    why: str
    """It is failing or paused."""
    failing_since: Time | None
    waiting: int
    """Deliveries that have not arrived, at most a few hundred; further events wait in their order."""
    dead: int
    """Dead letters: given up until they are sent again."""
    delivered: int
    last_delivered: Time | None
    old_secret_until: Time | None
    """Until then deliveries are signed with the secret before, too."""
    version: int
    """The ETag."""
    created: Time
    created_by: str
    secret: str | None = None
    """Only where it was made just now; it is not shown again."""


class WebhookPage(Struct, frozen=True):
    items: list[WebhookView]
    next: str | None
    """Give it as `after` for the next page; null at the end."""


class DeliveryView(Struct, frozen=True):
    event: str
    """Id of the event, `webhook-id` of every attempt."""
    type: str
    account: str | None
    state: Literal["waiting", "delivered", "dead"]
    attempts: int
    created: Time
    first_failed: Time | None
    last_attempt: Time | None
    next_attempt: Time | None
    """Not before; earlier where the receiver is tried or comes back."""
    result: str
    """Of the last attempt: the status with the beginning of the answer, or what went wrong."""


class DeliveryPage(Struct, frozen=True):
    items: list[DeliveryView]
    next: str | None


class Retried(Struct, frozen=True):
    deliveries: int
    """Dead letters that are sent again; where it is 500, there may be more."""
