"""RADIUS clients: how they are configured, what their addresses do, and what is demanded of them."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.schema_radius import (
    HabitView,
    HomeServerPage,
    HomeServerView,
    RadiusAddressView,
    RadiusClientPage,
    RadiusClientView,
)
from ocs.api.texts import time_or_none
from ocs.backoffice import radius_clients, radius_homes
from ocs.backoffice.radius_clients import AddressShown, HabitShown
from ocs.charging.radius.habits import Habit
from ocs.patterns import looks


class RadiusClientsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    before: Annotated[str, looks(r"([0-9]{1,16}:[!-~]{1,80})?", '"next" of the page before')] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def list_clients(call: ApiCall) -> ApiReply:
    query: RadiusClientsQuery = call.query
    seen_ms, _, address = query.before.partition(":")
    found = await radius_clients.page(call.backoffice, (int(seen_ms or 2**53), address), query.limit)
    last = found[-1].record if len(found) == query.limit else None
    configured = [
        RadiusClientView(
            one.block,
            one.name,
            one.profile,
            one.service,
            one.message_authenticator,
            one.limit_proxy_state,
            one.rate_max,
        )
        for one in call.backoffice.radius.clients
    ]
    following = f"{last.seen_ms}:{last.address}" if last else None
    return ApiReply(RadiusClientPage(configured, [address_view(one) for one in found], following))


async def reset(call: ApiCall) -> ApiReply:
    return ApiReply(address_view(await radius_clients.reset(call.backoffice, call.path["address"])))


def address_view(shown: AddressShown) -> RadiusAddressView:
    record, client, habits = shown
    return RadiusAddressView(
        record.address,
        record.client,
        client.name if client else "",
        client.profile if client else "",
        time_or_none(record.seen_ms),
        _habit(habits[Habit.SIGNED]),
        _habit(habits[Habit.DIRECT]),
        record.dropped,
    )


def _habit(shown: HabitShown) -> HabitView:
    record = shown.record
    return HabitView(
        shown.policy,
        shown.strictness.value,
        record.kept,
        time_or_none(record.since_ms),
        record.broken,
        time_or_none(record.broken_ms),
        time_or_none(shown.demanded_ms),
    )


async def list_homes(call: ApiCall) -> ApiReply:
    found = await radius_homes.shown(call.backoffice)
    return ApiReply(
        HomeServerPage(
            [
                HomeServerView(
                    one.address,
                    one.state.value if one.state else "unknown",
                    time_or_none(one.since_ms),
                    one.workers,
                    one.outstanding,
                    one.counts,
                )
                for one in found
            ]
        )
    )


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/radius/clients",
        list_clients,
        "RADIUS clients, and what each of their addresses does",
        "network.read",
        answer=RadiusClientPage,
        query=RadiusClientsQuery,
        description="`signed.strictness` says whether Access-Requests without Message-Authenticator are served. Workers"
        " tell what they saw every few seconds. Addresses that are silent for 90 days are forgotten; what is demanded"
        " of them is not.",
    ),
    Operation(
        "GET",
        "/v1/radius/homes",
        list_homes,
        "Home servers that EAP logins are passed on to, and whether they answer",
        "network.read",
        answer=HomeServerPage,
        description="Workers tell how they find them every five seconds.",
    ),
    Operation(
        "POST",
        "/v1/radius/clients/{address:path}/reset",
        reset,
        "Forget what an address did: nothing is demanded of it until it is learnt anew",
        "network.write",
        answer=RadiusAddressView,
        problems=("not-found",),
        description="For a NAS that was replaced by one that cannot send Message-Authenticator.",
    ),
)
