"""Network elements as they are configured, and what was unusual about their requests."""

from __future__ import annotations

from typing import Final

from ocs.api import schema
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.charging.settings import REGULAR


async def list_peers(call: ApiCall) -> ApiReply:
    clients, remarks = call.backoffice.clients, await call.backoffice.remarks()
    items = []
    for name in sorted({*clients, *remarks}):
        profile = clients.get(name, REGULAR)
        items.append(
            schema.PeerView(
                name,
                name in clients,
                profile.reuses_numbers,
                profile.session_id_not_unique,
                profile.tariff_change,
                remarks.get(name, {}),
            )
        )
    return ApiReply(schema.PeerPage(items))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/peers",
        list_peers,
        "Configured peers, and how often something was unusual about their requests",
        "network.read",
        answer=schema.PeerPage,
        description="`equal` counts requests that got the answer of an equal one before, under a new End-to-End-Id and"
        " with the T bit clear: they were not charged. If they are events of their own, set `reuses_numbers`. `reused`"
        " counts Session-Ids that were begun again, `rar_ignored` RARs that were agreed to and not followed: set"
        ' `reauthorize = "never"` where that is usual. All others together are the peer `guest`.',
    ),
)
