"""A job: one session that is to be asked, changed or ended, because of one intent."""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec

from balances.ledger.intents import IntentId
from ocs.enforcement.machine import OPEN, JobState


class Cause(StrEnum):
    """Why a session is told, the strongest first: a session has one job of an intent."""

    SUSPENDED = "suspended"
    """Its account, or its service, is suspended, and it holds what it was granted before."""
    DEPLETED = "depleted"
    """It goes on without money: its client does not wait for what it is granted."""
    MEMBERS = "members"
    """Its account does not serve its subscriber any more."""
    REPLACED = "replaced"
    """Another one of its subscriber took its place."""
    LIMIT = "limit"
    """It holds what may be more than a lower limit allows."""
    WAITS = "waits"
    """It waits for money or room, and some came in."""
    PRICE = "price"
    """Time alone changed what it is charged or served by: a grade at its instant, an assignment that began or ended."""
    HOLDER = "holder"
    """It holds most of what others lack."""


RESTRICTIVE: Final = frozenset({Cause.SUSPENDED, Cause.DEPLETED, Cause.MEMBERS, Cause.REPLACED})
"""What the network may go on doing has become less: more than a request to report may be needed."""


class NetworkAction(StrEnum):
    """What is done; one file of ocs/enforcement/executors for each that a protocol has."""

    REAUTHORIZE = "reauthorize"
    """The client is asked to report now: RAR."""
    ABORT = "abort"
    """The session is ended: ASR."""
    CHANGE = "change"
    """The session is changed in place: CoA."""
    DISCONNECT = "disconnect"
    """The session is ended: Disconnect-Request."""
    NOTHING = "nothing"


ENDING: Final = frozenset({NetworkAction.ABORT, NetworkAction.DISCONNECT})


RADIUS_CLIENT: Final = "radius:"
"""What the name of a RADIUS client begins with (ocs/charging/radius/names.py); no DiameterIdentity does."""


def is_radius(client: str) -> bool:
    return client.startswith(RADIUS_CLIENT)


class NetworkJob(msgspec.Struct):
    """A row of the table `jobs`; the columns are there."""

    id: str
    intent: IntentId
    session: str
    incarnation: int
    account: str
    subscriber: str
    service: str
    peer: str
    cause: Cause
    action: NetworkAction
    generation: int
    touched_ms: int
    bound_micro: int
    crossed_ms: int
    made_ms: int
    due_ms: int
    state: JobState = JobState.DUE
    why: str = ""
    attempts: int = 0
    result: str = ""
    used_micro: int = 0
    sent_ms: int | None = None
    acknowledged_ms: int | None = None
    effective_ms: int | None = None
    ended_ms: int | None = None
    tries: int = 0
    """Attempts of the present action since its last success: decides when it is given up. Not kept."""
    seq: int = 0
    """Last ledger entry of the account when somebody looked at it and found the job needed. Not kept."""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_heard(self) -> bool:
        """Whether its client hears of how things are by the answers to its own requests, as one of Diameter does."""
        return not is_radius(self.peer)

    @property
    def of(self) -> tuple[str, str]:
        """(account, session)"""
        return self.account, self.session


def job_id(intent: IntentId, session: str, incarnation: int) -> str:
    """The same for every process that makes this job, so that it is one."""
    return f"{intent}-{blake2b(f'{incarnation} {session}'.encode(), digest_size=6).hexdigest()}"
