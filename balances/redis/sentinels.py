"""Where the primary of a service is, as its Sentinels say (redis.io "Sentinel client spec").

Sentinels may disagree while a failover goes round: the newer configuration epoch is right, and what is older than was
heard before is not believed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from balances.redis.address import ServerPlace, StoreAddress
from balances.redis.client_connections import cancellable

ANSWER_S: Final = 1.0
"""A Sentinel that does not say more quickly is not waited for."""
POLL_S: Final = 1.0
"""How often they are asked while all is well."""


class SentinelClaim(NamedTuple):
    """A Sentinel says that the primary is there."""

    epoch: int
    """Configuration epoch: of its last failover."""
    place: ServerPlace


class SentinelWatch:
    """Asks the Sentinels of an address."""

    def __init__(self, address: StoreAddress) -> None:
        self.now: SentinelClaim | None = None
        """The newest that was heard."""
        self._address = address
        self._clients: dict[ServerPlace, Any] = {}
        self._refused = ""
        """What one said last instead of an answer: a wrong password, or that it knows no such service."""

    async def look(self) -> SentinelClaim:
        """Ask all of them. OSError: none says so, or only what is older than was heard before."""
        found = await asyncio.gather(*map(self._claim, self._address.places))
        claims = [claim for claim in found if claim is not None]
        if not claims:
            why = f": {self._refused}" if self._refused else ""
            raise ConnectionError(f"no Sentinel says where the primary of {self._address.service!r} is{why}")
        newest = max(claims, key=lambda claim: claim.epoch)
        if self.now is None or newest.epoch > self.now.epoch:
            self.now = newest
        elif newest.epoch < self.now.epoch:
            raise ConnectionError(
                f"the Sentinels name a primary of failover epoch {newest.epoch}, and {self.now.epoch} is known"
            )
        elif self.now not in claims:  # `SENTINEL SET`, or another announced name: no failover, another place
            self.now = newest
        return self.now

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def _claim(self, sentinel: ServerPlace) -> SentinelClaim | None:
        if sentinel not in self._clients:
            self._clients[sentinel] = _client(self._address, sentinel)
        service = self._address.service
        pipe = self._clients[sentinel].pipeline(transaction=False)
        # In words of their own, so that the client does not parse them. The place is asked for before and after: in
        # between there was no failover then, and the epoch is of that very place.
        pipe.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        pipe.execute_command("SENTINEL", "MASTER", service)
        pipe.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        try:
            async with asyncio.timeout(ANSWER_S):
                return claim_of(*await pipe.execute())
        except (OSError, RedisError, TimeoutError) as why:
            self._refused = f"{sentinel}: {str(why) or type(why).__name__}"
            return None


def claim_of(before: Any, master: Any, after: Any) -> SentinelClaim | None:
    """By the replies of one Sentinel to GET-MASTER-ADDR-BY-NAME, MASTER and the first again; None: it does not know,
    or a failover came in between."""
    if not before or before != after:
        return None
    facts = dict(zip(master[::2], master[1::2], strict=True))
    return SentinelClaim(int(facts[b"config-epoch"]), ServerPlace(before[0].decode(), int(before[1])))


def _client(address: StoreAddress, place: ServerPlace) -> Any:
    tls: dict[str, Any] = {} if address.tls is None else {"ssl": True, **address.tls_files}
    return cancellable(
        redis.asyncio.Redis(
            host=place.host,
            port=place.port,
            username=address.sentinel_user or None,
            password=address.sentinel_password or None,
            protocol=2,
            retry=Retry(NoBackoff(), 1),
            socket_connect_timeout=ANSWER_S,
            **tls,
        )
    )
