"""The hosts that work on one store, seen from any of them."""

from __future__ import annotations

from typing import Final

from ocs.api import schema_hosts
from ocs.api.operation import ApiCall, ApiReply, Operation
from ocs.api.texts import time_of, time_or_none
from ocs.backoffice import hosts
from ocs.backoffice.amounts import money
from ocs.backoffice.at_stake import AtStake
from ocs.backoffice.ledger import CopyStatus
from ocs.stores.hosts import HostRow


async def store_status(call: ApiCall) -> ApiReply:
    found = await hosts.status(call.backoffice, sees_money=call.authority.may("ledger.read"))
    return ApiReply(
        schema_hosts.StoreStatusView(
            [_host(one) for one in found.hosts],
            None if found.format is None else _format(found.format),
            None if found.copied is None else _shards(found.copied),
            None if found.at_stake is None else _at_stake(found.at_stake),
            dict(found.here),
            list(found.unknown),
        )
    )


async def restart_hosts(call: ApiCall) -> ApiReply:
    asked = await hosts.restart(call.backoffice, call.body.hosts, actor=call.caller)
    return ApiReply(schema_hosts.RestartedHosts(asked))


def _format(stored: hosts.FormatState) -> schema_hosts.StoredFormatView:
    since = None if stored.since is None else time_of(int(stored.since.timestamp() * 1_000))
    return schema_hosts.StoredFormatView(
        stored.written,
        stored.announced,
        since,
        stored.newest,
        list(stored.held_back),
        stored.step,
        stored.needs,
        stored.knows,
    )


def _shards(copied: CopyStatus) -> schema_hosts.ShardsView:
    return schema_hosts.ShardsView(
        copied.lag,
        time_or_none(copied.oldest_ms),
        [one.shard for one in copied.shards if one.stopped],
        len(copied.quarantined),
    )


def _at_stake(seen: AtStake) -> schema_hosts.AtStakeView:
    total = {currency: money(micro) for currency, micro in seen.total.items()}
    unheld = {currency: money(micro) for currency, micro in seen.unheld.items()}
    return schema_hosts.AtStakeView(total, seen.complete, time_of(seen.at_ms), unheld, seen.unknown)


def _host(one: HostRow) -> schema_hosts.HostView:
    state = one.state
    return schema_hosts.HostView(
        one.name,
        one.run,
        "lost" if not one.alive else "ready" if state.ready else "not ready",
        state.why,
        time_of(int(one.since.timestamp() * 1_000)),
        one.lost_s,
        list(state.roles),
        state.build,
        list(one.reads),
        sorted(one.libraries),
        state.http,
        list(state.peers),
        list(state.clients),
        [
            schema_hosts.HostProcessView(f"{process.role} {process.number}", process.ready, process.why, process.build)
            for process in state.processes
        ],
        one.restart,
        one.restart_said,
    )


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/status",
        store_status,
        "All hosts of the store, the stored format, and how far PostgreSQL is",
        "hosts.read",
        answer=schema_hosts.StoreStatusView,
        description="A host that stops leaves at once; one that is killed is `lost` ten seconds later, and is listed"
        " for ten minutes more. Where a store does not answer, `unknown` says what is missing, and the rest is there.",
    ),
    Operation(
        "POST",
        "/v1/restarts",
        restart_hosts,
        "Restart the processes of hosts, one after the other",
        "hosts.restart",
        answer=schema_hosts.RestartedHosts,
        body=schema_hosts.RestartHosts,
        problems=("not-found",),
        description="One host at a time, and of it one process at a time: the one that follows is ready before the old"
        " one drains. `restart` and `restart_said` of `GET /v1/status` say how far it is. Where a process does not get"
        " ready its predecessor stays, and the other hosts do not begin.",
    ),
)
