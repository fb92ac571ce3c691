"""What a platform says over HTTP, and what it is told: the bodies of /v1/charging. OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from balances.structs.charge import LINES_SETTLED_MAX
from ocs.charging.identity import KINDS
from ocs.patterns import looks
from ocs.tags import UseTags

ONE_LINE: Final = "a text without line breaks and other control characters"
NUMBER_MAX: Final = 2**32 - 1
INT64_MAX: Final = 2**63 - 1

Fact = Annotated[str, looks(r"[^\x00-\x1f]*", ONE_LINE, max_length=255)]
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
Name = Annotated[
    str,
    looks(
        r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,63}",
        "an id of 1 to 64 letters, digits and . _ : @ + -, which begins with a letter or a digit",
        examples=["tv-4711"],
    ),
]
Identity = Annotated[
    str,
    looks(
        rf"({'|'.join(KINDS)}):[^\x00-\x1f]+",
        f"an identity: {', '.join(f'{kind}:' for kind in KINDS)} and what is behind it",
        max_length=255,
        examples=["msisdn:491700000001"],
    ),
]
StatedMoney = Annotated[
    str,
    looks(
        r"-?[0-9]{1,16}(\.[0-9]{1,18})?",
        'an amount such as "4.99"',
        max_length=36,
        description="Money as a decimal string",
        examples=["4.99"],
    ),
]
Count = Annotated[int, Meta(ge=0, le=INT64_MAX, examples=[300])]
Instant = Annotated[
    str,
    looks(
        r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
        "an instant with its offset, such as 2026-03-29T02:00:00+02:00",
        max_length=40,
        description="RFC 3339, with its offset",
    ),
]


class StatedForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A field that is not known is refused, because it was meant to do something."""


# ---- asked


class StatedUnits(StatedForm, frozen=True, kw_only=True):
    """An amount, in the units in which it is known."""

    money: StatedMoney | None = None
    octets: Count | None = None
    seconds: Count | None = None
    units: Count | None = None


class StatedFacts(StatedForm, frozen=True, kw_only=True):
    """What prices may depend on, as far as it is known. In a session, what is left out is what was told last."""

    calling: Fact = ""
    """Who calls: a number, or user@host."""
    called: Fact = ""
    """Who is called, as it was dialled."""
    role: Number | None = None
    """0 originating, 1 terminating, 2 forwarding."""
    visited: Fact = ""
    """MCC and MNC of the serving network: "26201", "262-01", or a text of the network that has them."""
    location: Fact = ""
    apn: Fact = ""
    rat_type: Number | None = None
    event_type: Fact = ""
    media: Fact = ""
    node: Fact = ""
    """Platform or server that serves it."""
    port_type: Number | None = None
    charging_characteristics: Fact = ""
    user_time_zone: Fact = ""
    equipment: Fact = ""
    network: Fact = ""
    """What else the network tells, as tariffs name it: `name=value;name=value`."""


NOTHING_STATED: Final = StatedFacts()
"""What a message without `facts` has."""


class StatedLine(StatedForm, frozen=True, kw_only=True):
    """One thing that is granted and reported by itself: a channel, a title, a direction of a call."""

    rating_group: Number | None = None
    service_id: Number | None = None
    requested: StatedUnits | None = None
    """Wanted from now on; `{}`: as much as you give. Left out of an update: nothing more is wanted."""
    used: StatedUnits | None = None
    """Used since the last report of this line."""
    reason: Literal["final", "idle"] | None = None
    """`final`: this line is over, nothing is granted. `idle`: nothing was used for so long that the grant lapsed."""


Lines = Annotated[tuple[StatedLine, ...], Meta(min_length=1, max_length=LINES_SETTLED_MAX)]


class ChargingMessage(StatedForm, frozen=True, kw_only=True):
    """What start, update, stop and event have in common."""

    service: Annotated[str, Meta(min_length=1, max_length=64, examples=["generic"])]
    """Name of its row in the service table."""
    subscriber: Name | None = None
    """Who uses it, by id ..."""
    identity: Identity | None = None
    """... or by one of its identities."""
    time: Instant | None = None
    """When it happened; when the request arrives, unless given."""
    currency: Annotated[str, looks("[A-Z]{3}", 'three capital letters such as "EUR"')] | None = None
    """Of amounts of money; that of the account unless given."""
    facts: StatedFacts = NOTHING_STATED
    tags: UseTags = {}
    """In a session, those that were told last."""


class ChargingStart(ChargingMessage, frozen=True, kw_only=True):
    """A session begins, and asks for its first grant."""

    id: Name | None = None
    """Your name of the session, used once; one is made of the Idempotency-Key unless given."""
    lines: Lines = (StatedLine(),)


class ChargingUpdate(ChargingMessage, frozen=True, kw_only=True):
    """What was used since the last report, and what is wanted next. Naming the subscriber again spares a look-up."""

    number: Annotated[int, Meta(ge=1, le=NUMBER_MAX, examples=[1])]
    """Which report of the session it is: 1, 2, 3 ... The same number is the same request."""
    lines: Lines


class ChargingStop(ChargingMessage, frozen=True, kw_only=True):
    """The session is over; what was used since the last report."""

    number: Annotated[int, Meta(ge=1, le=NUMBER_MAX, examples=[2])]
    """One more than that of the last update."""
    lines: Annotated[tuple[StatedLine, ...], Meta(max_length=LINES_SETTLED_MAX)] = ()


class ChargingEvent(ChargingMessage, frozen=True, kw_only=True):
    """Something that is paid at once, and what may be asked about such: a title, a message, a refund."""

    action: Literal["debit", "refund", "check", "price"] = "debit"
    """`check`: is there enough; `price`: what would it cost. Both move nothing."""
    refund_token: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """What is given back: the token that the debit was answered with."""
    lines: Lines = (StatedLine(),)


# ---- answered


class GrantedUnits(Struct, frozen=True, omit_defaults=True):
    money: str | None = None
    octets: int | None = None
    seconds: int | None = None
    units: int | None = None


class FinalStep(Struct, frozen=True):
    """What is to be done when what was granted is used up."""

    action: Literal["terminate", "redirect", "restrict-access"]
    address: str
    """Where `redirect` leads."""
    filters: list[str]
    """What stays reachable: IP filter rules ..."""
    filter_ids: list[str]
    """... or names of filters."""


class ChargedLine(Struct, frozen=True):
    rating_group: int | None
    service_id: int | None
    result: str
    """`ok`, or why nothing was granted: `credit-limit`, `denied`, `rating-failed`, `no-grant` (none was wanted) ..."""
    granted: GrantedUnits | None
    """May be used until the next report."""
    validity_s: int | None
    """Report by then at the latest."""
    final: FinalStep | None
    """This was the last that the balance covers."""
    threshold: int | None
    """Report when this little of the grant is left."""
    holding_s: int | None
    """The grant lapses when nothing is used for so long."""
    price_changes: str | None
    """The grant ends there, because what follows costs otherwise."""
    grade: str
    """By which it is delivered, where its price has grades."""
    set_aside: bool
    """What it reported was not charged, because its price counts other units: `/v1/suspense` has it."""


class ChargingReply(Struct, frozen=True):
    """The answer to a request, the same for each repeat of it."""

    id: str
    session: str
    """What it is called in /v1/sessions and in the ledger."""
    result: str
    lines: list[ChargedLine]
    cost: str | None
    """Of a session so far, without what is held; of an event, its own."""
    balance: str | None
    """Own money of the account after it, with what is held."""
    currency: str | None
    low_balance: bool
    enough: bool | None
    """Of `check`."""
    refund_token: str | None
    """Of a debit: names it for a refund."""
    tariff: str
    """Of `price`: tariff, version and rows."""
