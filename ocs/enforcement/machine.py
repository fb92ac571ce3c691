"""The life of a job as a table: nothing else changes a job's state. Pure.

A job is open while something may still be sent for it. What a state has no line for changes nothing: an answer that
comes after its job was cancelled, a report after it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class JobState(StrEnum):
    DUE = "due"
    """An attempt is to be made, now or at its instant."""
    SENT = "sent"
    """An attempt is under way."""
    ACKNOWLEDGED = "acknowledged"
    """The client has agreed, and has not come back yet."""
    EFFECTIVE = "effective"
    """The client came back with a request after the job was made, or the session has ended, or no more use was seen."""
    FAILED = "failed"
    """The client refused, or agreed and did nothing."""
    GIVEN_UP = "given-up"
    """Nobody could be reached."""
    CANCELLED = "cancelled"
    """It was not wanted any more before anything was sent, or a person ended it."""
    SUPERSEDED = "superseded"
    """It was not wanted any more after something was sent, or a newer job of its session took its place."""


class JobEvent(StrEnum):
    SEND = "send"
    """An attempt leaves."""
    ACCEPTED = "accepted"
    """2xxx."""
    UNDELIVERED = "undelivered"
    """It may be otherwise the next time: nobody there, silence, not delivered, too busy, unable to comply."""
    EXHAUSTED = "exhausted"
    """The same, of the last attempt."""
    REFUSED = "refused"
    """Any other answer, and nothing stronger is to be tried."""
    IMPOSSIBLE = "impossible"
    """Nothing that is configured can do it."""
    ESCALATED = "escalated"
    """Refused, or agreed without an effect: the job goes on with something stronger."""
    RETURNED = "returned"
    """The client came back with a request after the job was made."""
    GONE = "gone"
    """The session has ended, or its own host does not know it any more."""
    QUIET = "quiet"
    """An ending was accepted, and no more use was seen."""
    SILENT = "silent"
    """The client agreed to report and did not, and nothing stronger is to be tried."""
    UNWANTED = "unwanted"
    """The account is such that the session need not be told: nothing was sent for it yet ..."""
    UNDONE = "undone"
    """... or something was, and what is needed now is another job."""
    REPLACED = "replaced"
    """A newer job of the same session takes its place."""
    LOST = "lost"
    """The process that sent the attempt ended before its answer."""
    CANCEL = "cancel"
    """A person's wish."""
    RETRY = "retry"
    """Likewise."""


_S, _E = JobState, JobEvent

TRANSITIONS: Final[Mapping[tuple[JobState, JobEvent], JobState]] = MappingProxyType({
    (_S.DUE, _E.SEND): _S.SENT,
    (_S.DUE, _E.IMPOSSIBLE): _S.FAILED,
    (_S.SENT, _E.ACCEPTED): _S.ACKNOWLEDGED,
    (_S.SENT, _E.UNDELIVERED): _S.DUE,
    (_S.SENT, _E.EXHAUSTED): _S.GIVEN_UP,
    (_S.SENT, _E.REFUSED): _S.FAILED,
    (_S.SENT, _E.ESCALATED): _S.DUE,
    (_S.SENT, _E.LOST): _S.DUE,
    (_S.ACKNOWLEDGED, _E.QUIET): _S.EFFECTIVE,
    (_S.ACKNOWLEDGED, _E.SILENT): _S.FAILED,
    (_S.ACKNOWLEDGED, _E.ESCALATED): _S.DUE,
    **{
        (state, event): to
        for state in (_S.DUE, _S.SENT, _S.ACKNOWLEDGED)
        for event, to in (
            (_E.RETURNED, _S.EFFECTIVE),
            (_E.GONE, _S.EFFECTIVE),
            (_E.UNWANTED, _S.CANCELLED),
            (_E.UNDONE, _S.SUPERSEDED),
            (_E.REPLACED, _S.SUPERSEDED),
            (_E.CANCEL, _S.CANCELLED),
        )
    },
    **{(state, _E.RETRY): _S.DUE for state in (_S.FAILED, _S.GIVEN_UP, _S.CANCELLED)},
})  # fmt: skip

OPEN: Final = frozenset({JobState.DUE, JobState.SENT, JobState.ACKNOWLEDGED})


def after(state: JobState, event: JobEvent) -> JobState:
    """The state after an event; the same one where the event changes nothing."""
    return TRANSITIONS.get((state, event), state)
