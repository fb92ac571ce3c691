"""What the API gives about enforcement jobs."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ocs.api.texts import Money, Time

State = Literal["due", "sent", "acknowledged", "effective", "failed", "given-up", "cancelled", "superseded"]
JobCause = Literal["suspended", "depleted", "members", "replaced", "limit", "waits", "price", "holder"]
JobAction = Literal["reauthorize", "abort", "change", "disconnect"]


class JobAttempt(Struct, frozen=True):
    """One request to the network, and what came of it."""

    number: int
    action: JobAction
    time: Time
    ended: Time
    result: str
    """Result-Code or Error-Cause of the answer, `no-route` or `timeout`."""
    host: str
    """Where it was sent."""
    by: str
    """Who answered."""


class JobView(Struct, frozen=True):
    """One session that the network is told about."""

    id: str
    account: str
    subscriber: str
    session: str
    incarnation: int
    service: str
    peer: str
    """Origin-Host of the client."""
    cause: JobCause
    action: JobAction
    """What is tried now, or was last."""
    state: State
    why: str
    """It is in that state, where that needs saying."""
    attempts: int
    result: str
    """Of the last attempt."""
    generation: int
    """Of the account, that confirmed it last."""
    crossed: Time
    """When the call was made that is the reason."""
    due: Time | None
    """When the next attempt is made, or the client's time is over; null: it has ended."""
    sent: Time | None
    """The first attempt."""
    acknowledged: Time | None
    effective: Time | None
    ended: Time | None
    held: Money
    """What the session held when the job was made: what it could still use."""
    used: Money
    """What was debited for it since."""
    wish: Literal["", "retry", "cancel"]
    """Of a person, until the keeper has seen it."""
    made_of: str
    """The record that is the reason: shard, epoch and number."""
    tries: list[JobAttempt] | None = None
    """null in lists."""


class JobPage(Struct, frozen=True):
    items: list[JobView]
    next: str | None
    """Give it as `before` for the next page; null at the end."""
