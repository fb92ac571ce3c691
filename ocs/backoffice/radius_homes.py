"""The home servers of EAP logins, as all workers find them (docs/radius.md)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from balances import keys
from ocs.net.radius.home_book import HomeSeen, homes_in
from ocs.net.radius.home_server import HomeState

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice


class HomeShown(NamedTuple):
    address: str
    state: HomeState | None
    """As the worker finds it that finds it best; None: none has said anything."""
    since_ms: int
    workers: dict[str, int]
    """By state, how many find it so."""
    outstanding: int
    counts: dict[str, int]


async def shown(backoffice: BackOffice) -> list[HomeShown]:
    """Those that are configured here, and those that workers of other hosts ask."""
    raw = await backoffice.bounded(backoffice.store.link.command("HGETALL", keys.RADIUS_HOMES).wait())
    seen = homes_in(raw, backoffice.now_ms())
    configured = [str(server.address) for server in backoffice.radius.home.servers]
    return [_shown(address, seen.get(address, [])) for address in dict.fromkeys((*configured, *sorted(seen)))]


def _shown(address: str, seen: list[HomeSeen]) -> HomeShown:
    best = min(seen, key=lambda one: (list(HomeState).index(one.state), one.since_ms), default=None)
    counts = Counter[str]()
    for one in seen:
        counts.update(one.counts)
    return HomeShown(
        address,
        best.state if best else None,
        best.since_ms if best else 0,
        dict(Counter(one.state.value for one in seen)),
        sum(one.outstanding for one in seen),
        dict(counts),
    )
