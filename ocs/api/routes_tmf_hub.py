"""TMF654 v4: hub, whose subscriptions are webhooks that are told in TM Forum's form (docs/tmf654.md)."""

from __future__ import annotations

import secrets
from typing import Annotated, Final
from urllib.parse import parse_qsl

from msgspec import Struct

from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_webhooks import HookUrl
from ocs.backoffice import webhooks
from ocs.backoffice.errors import Invalid
from ocs.backoffice.webhooks import WantedWebhook
from ocs.patterns import looks
from ocs.tmf654.notifications import NOTIFICATIONS, TYPE_OF
from ocs.tmf654.words import BASE

FORM: Final = "tmf654"
EVENT_TYPE: Final = "eventType"
ACCOUNT: Final = "partyAccount.id"

QUERY_EXAMPLE: Final = "eventType=TopupBalanceCreateEvent&partyAccount.id=demo-1"

Query = Annotated[
    str,
    looks(
        r"[^\x00-\x1f]*",
        "a text without control characters",
        max_length=255,
        examples=[QUERY_EXAMPLE],
        description=f"`{EVENT_TYPE}=` and `{ACCOUNT}=` with commas between several, and & between the two; empty: all",
    ),
]


class TmfEventSubscriptionInput(Struct, frozen=True):
    callback: HookUrl
    """Notifications are posted below it: `CALLBACK/listener/topupBalanceCreateEvent`."""
    query: Query = ""


class TmfEventSubscription(Struct, frozen=True):
    id: str
    callback: str
    query: str


def _wanted(body: TmfEventSubscriptionInput) -> WantedWebhook:
    types, accounts = list(NOTIFICATIONS), list[str]()
    for name, value in parse_qsl(body.query, keep_blank_values=True):
        said = [one.strip() for one in value.split(",")]
        if name == EVENT_TYPE:
            if unknown := [one for one in said if one not in TYPE_OF]:
                raise Invalid("query", f"expected event types out of {', '.join(TYPE_OF)}, found {unknown[0][:80]!r}")
            types = [TYPE_OF[one] for one in said]
        elif name == ACCOUNT:
            accounts = said
        else:
            raise Invalid("query", f"expected {EVENT_TYPE}= and {ACCOUNT}=, found {name[:80]!r}")
    if body.query and not parse_qsl(body.query, keep_blank_values=True):
        raise Invalid("query", f"expected {EVENT_TYPE}= and {ACCOUNT}=, found {body.query[:80]!r}")
    return WantedWebhook(
        url=body.callback.rstrip("/"), description=body.query, types=types, accounts=accounts, services=[]
    )


async def tmf_subscribe(call: ApiCall) -> ApiReply:
    body: TmfEventSubscriptionInput = call.body
    id_ = f"tmf-{secrets.token_hex(8)}"
    await webhooks.create(call.backoffice, id_, _wanted(body), after=None, actor=call.caller, form=FORM)
    made = TmfEventSubscription(id_, body.callback, body.query)
    return ApiReply(made, 201, headers={"Location": f"{BASE}/hub/{id_}"})


async def tmf_unsubscribe(call: ApiCall) -> ApiReply:
    await webhooks.delete(call.backoffice, call.path["subscription"], lambda _version: None, form=FORM)
    return ApiReply(None, 204)


OPERATIONS: Final = (
    Operation(
        "POST",
        f"{BASE}/hub",
        tmf_subscribe,
        "Have notifications posted to a callback",
        "webhooks.write",
        answer=TmfEventSubscription,
        status=201,
        body=TmfEventSubscriptionInput,
        examples={"top-ups of an account": {"callback": "https://crm.example.net/tmf", "query": QUERY_EXAMPLE}},
        problems=("conflict",),
        description="It is a webhook of /v1/webhooks too: signed, retried, paused, at least once and in order for each"
        " account.",
    ),
    Operation(
        "DELETE",
        f"{BASE}/hub/{{subscription}}",
        tmf_unsubscribe,
        "Forget a callback, and what has not arrived",
        "webhooks.write",
        status=204,
        problems=("not-found",),
    ),
)
