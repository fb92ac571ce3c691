"""What a worker asks PostgreSQL: an account Redis lacks, an event older than Redis remembers. The slow paths of
charging, each as a Pending; when PostgreSQL does not answer they fail with NotSent, so that the client is told 3004
while it still waits (ocs/stores/bounded_postgres.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from balances.ledger.reader import STORE_AWAY
from balances.ledger.restore import Quarantined, find_lines, find_once, find_refundable, find_request, find_session
from balances.ledger.writer import AWAY
from balances.redis.calls import NotSent
from balances.redis.pending import Pending, SlowPath
from balances.redis.store import Store
from balances.structs.charge import Charge
from balances.structs.posting import AccountSettings
from balances.structs.session import Line
from ocs.master.bring_in import bring_in
from ocs.master.projected_store import TOLD
from ocs.stores.bounded_postgres import Away, BoundedPostgres

if TYPE_CHECKING:
    from redis.asyncio import Redis

AT_ONCE_MAX: Final = 200
"""Accounts being brought in; a Redis that came back empty meets all subscribers at once."""


class SlowPaths:
    def __init__(
        self,
        pool: BoundedPostgres,
        redis: Redis,
        store: Store,
        now_ms: Callable[[], int],
        within_s: float,
    ) -> None:
        """within_s: for one slow path, longer than `pool` takes for one question: the client waits for it"""
        self._pool, self._redis, self._store, self._now_ms = pool, redis, store, now_ms
        self._within_s = within_s
        self._coming: dict[str, asyncio.Task[None]] = {}

    def restore(self, account: str) -> Pending[None]:
        """Restore the account into Redis; requests of the same account wait for the same attempt."""
        return SlowPath(self._restore(account))

    def session_known(self, session: str) -> Pending[tuple[str, str] | None]:
        """Account and subscriber of a session. A Redis restored from PostgreSQL has the session, but not its
        `where:` key."""
        return SlowPath(self._asked(find_session(self._pool, session)))

    def refundable(self, charge: Charge) -> Pending[tuple[str, bytes] | None]:
        """The newest event of its session that is not wholly refunded: once key and packed IdempotencyRecord."""
        return SlowPath(self._asked(find_refundable(self._pool, charge.account, charge.refund_of)))

    def request_known(self, charge: Charge) -> Pending[bytes | None]:
        """The stored answer to a request of a session that Redis no longer has."""
        return SlowPath(self._asked(find_request(self._pool, charge)))

    def lines_known(self, charge: Charge) -> Pending[list[Line]]:
        """Of a session that Redis has forgotten, as they were last."""
        return SlowPath(self._asked(find_lines(self._pool, charge)))

    def tell(self, account: str, change: int) -> Pending[None]:
        """Tell an account again that by this change it pays no more (charging.md section 19): a failover may have lost
        that it was told. NotSent where it is still to be told, because the projection does that, in its order."""
        return SlowPath(self._asked(self._tell(account, change)))

    def event_known(self, account: str, key: str) -> Pending[bytes | None]:
        return SlowPath(self._asked(find_once(self._pool, account, key)))

    async def _restore(self, account: str) -> None:
        coming = self._coming.get(account)
        if coming is None:
            if len(self._coming) >= AT_ONCE_MAX:
                raise NotSent("too many accounts are being restored")
            coming = self._coming[account] = asyncio.ensure_future(self._bring_in(account))
            coming.add_done_callback(lambda _task: self._coming.pop(account, None))
        await asyncio.shield(coming)

    async def _bring_in(self, account: str) -> None:
        status = await self._asked(bring_in(self._pool, self._redis, self._store, account, self._now_ms()))
        if status not in ("ok", "exists"):
            raise NotSent(f"the account cannot be brought in: {status or 'PostgreSQL does not know it'}")

    async def _tell(self, account: str, change: int) -> None:
        if int(await self._redis.get(TOLD) or 0) < change:
            raise NotSent("the account does not know yet that it pays no more")
        # Whose limits changed with it was lost too: all are asked to report.
        settings = AccountSettings(account, self._now_ms(), None, profile_rev=change, limited=[""])
        reply = await self._store.settings(settings).wait()
        if reply.status not in ("ok", "absent"):  # one that is absent is brought in by the call that follows
            raise NotSent(f"the account cannot be told that it pays no more: {reply.status}")

    async def _asked(self, question: Any) -> Any:
        try:
            async with asyncio.timeout(self._within_s):
                return await question
        except Quarantined as account:
            raise NotSent(f"account {account} is in quarantine") from None
        except (Away, NotSent) as why:
            raise NotSent(str(why)) from None
        except (*AWAY, *STORE_AWAY) as why:  # on a connection that was borrowed, or of Redis
            raise NotSent(f"a store cannot be asked: {why!r}") from None
