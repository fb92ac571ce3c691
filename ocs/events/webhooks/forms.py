"""The forms in which a webhook is told events: the body, its media type, and where below the URL it is posted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from balances.ledger.events import EventRow
from ocs.events.event import MEDIA_TYPE, event_of
from ocs.tmf654 import notifications

WebhookForm = Literal["cloudevents", "tmf654"]


class EventForm(NamedTuple):
    media_type: str
    body: Callable[[EventRow, str], bytes]
    """Of an event, and the source that events of this installation have."""
    place: Callable[[str], str]
    """Below the URL, by type of event."""
    tells: Callable[[str], bool] = lambda _type: True
    """Whether it has a word for events of this type."""


FORMS: Final[dict[WebhookForm, EventForm]] = {
    "cloudevents": EventForm(MEDIA_TYPE, lambda row, source: event_of(row, source).json(), lambda _type: ""),
    "tmf654": EventForm(
        notifications.MEDIA_TYPE,
        lambda row, _source: notifications.notification_of(row),
        notifications.listener_of,
        lambda type_: type_ in notifications.NOTIFICATIONS,
    ),
}
