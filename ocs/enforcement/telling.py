"""Decides from the records in the streams which sessions are asked to report (RAR), and evaluates the answers
(charging.md section 5).

A record says what happened to its account (`Record.reauthorize`). The sessions concerned are looked up here, and read
again before each attempt; attempts for one session are serial (durability.md rule 10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from balances.ledger.supervision import Cause, holders, to_reauthorize
from balances.redis.pending import Pending, ended
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.record import Record
from balances.structs.session import Session, SessionState
from ocs.enforcement.session_requests import NO_ROUTE, TIMEOUT, RequestReceipt
from ocs.telemetry.log import Seldom

AGAIN_S: Final = (1.0, 5.0, 25.0)
"""Waits before a RAR that came to nothing is sent again."""
AGAIN: Final = (NO_ROUTE, TIMEOUT, 3002, 3004, 5012)
"""What may be otherwise the next time: nobody there, silence, not delivered, too busy, unable to comply."""
UNKNOWN_SESSION: Final = 5002
IN_WORK_S: Final = 2.0
"""A request that was in work when its client said 5002 is charged by then, and has touched its session."""
HOLDER_EVERY_MS: Final = 30_000
"""A session is asked so often at most for what it holds and others lack."""
ACCOUNTS_MAX: Final = 100_000
SESSIONS_MAX: Final = 10_000
AT_ONCE: Final = 500


class TellingStore(Protocol):
    """The part of balances.redis.store.Store that is needed here."""

    def session(self, account_id: str, session: str) -> Pending[Session | None]: ...
    def expire(self, expiry: Expire) -> Pending[Reply]: ...


class AskSession(Protocol):
    async def __call__(self, kind: str, session: Session) -> RequestReceipt: ...


class EnforcementLog(Protocol):
    def info(self, event: str, **fields: object) -> object: ...
    def warning(self, event: str, **fields: object) -> object: ...


async def all_served(_account: str, subscribers: Collection[str]) -> Collection[str]:
    """Where nobody says otherwise."""
    return subscribers


class Telling:
    """
    ask:       sends a RAR and waits for what becomes of it
    sessions:  those of an account, from the live store
    served:    which of these subscribers the account serves: neither barred nor deleted nor moved away
    trouble:   what these raise while a store is away
    label:     a peer by a name of a bounded set, for what is counted
    """

    def __init__(
        self,
        store: TellingStore,
        ask: AskSession,
        sessions: Callable[[str], Awaitable[list[Session]]],
        served: Callable[[str, Collection[str]], Awaitable[Collection[str]]],
        log: EnforcementLog,
        *,
        now_ms: Callable[[], int],
        trouble: tuple[type[Exception], ...],
        label: Callable[[str], str] = lambda _origin_host: "other",
    ) -> None:
        self.asked = 0
        """Sessions that were asked to report."""
        self.ended = 0
        """Sessions their client did not know any more."""
        self.dropped = 0
        """Sessions that were not asked, and accounts not looked at, for want of room."""
        self.unreached: dict[str, int] = {}
        """RARs that nobody had a connection for, by peer."""
        self._store, self._send, self._sessions, self._served, self._log = store, ask, sessions, served, log
        self._now_ms, self._trouble, self._label = now_ms, trouble, label
        self._due: dict[str, Cause] = {}
        self._stirred = asyncio.Event()
        self._under_way: dict[tuple[str, str], bool] = {}
        """Sessions being asked; True: there is new reason to, since the last RAR was sent."""
        self._holders: dict[str, int] = {}
        """When each session was last asked for what it holds."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._seldom = Seldom()

    async def stop(self) -> None:
        await ended(self._tasks)

    def want(self, record: Record) -> None:
        """Note the reasons that this record gives. Reasons of one account are collected until the account is
        handled."""
        cause = Cause.of(record)
        if cause.kinds:
            self._want(record.account, cause)

    def _want(self, account: str, cause: Cause) -> None:
        before = self._due.get(account)
        if before is None and len(self._due) >= ACCOUNTS_MAX:
            self.dropped += 1
            return
        self._due[account] = cause if before is None else before.joined(cause)
        self._stirred.set()

    async def step(self) -> None:
        """Wait for an account with a reason, and begin to ask its sessions."""
        while not self._due:
            self._stirred.clear()
            await self._stirred.wait()
        account = next(iter(self._due))
        cause = self._due.pop(account)
        try:
            await self._look(account, cause)
        except self._trouble:
            self._want(account, cause)
            raise

    async def _look(self, account: str, cause: Cause) -> None:
        sessions = await self._sessions(account)
        subscribers = {one.subscriber for one in sessions if one.state == SessionState.OPEN}
        gone: Collection[str] = ()
        if "members" in cause.kinds and subscribers:
            gone = subscribers - set(await self._served(account, subscribers))
        chosen = to_reauthorize(sessions, cause.kinds, gone)
        chosen += [one for one in holders(sessions, cause.short, but=cause.but) if self._is_time(one.id)]
        for session in chosen:
            self._begin(account, session.id)

    def _is_time(self, session: str) -> bool:
        now_ms = self._now_ms()
        if now_ms - self._holders.get(session, 0) < HOLDER_EVERY_MS:
            return False
        if len(self._holders) >= SESSIONS_MAX:
            self._holders = {one: at_ms for one, at_ms in self._holders.items() if now_ms - at_ms < HOLDER_EVERY_MS}
        self._holders[session] = now_ms
        return True

    def _begin(self, account: str, session: str) -> None:
        key = account, session
        if key in self._under_way:
            self._under_way[key] = True
        elif len(self._under_way) >= SESSIONS_MAX:
            self.dropped += 1
        else:
            self.asked += 1
            self._under_way[key] = True
            task = asyncio.create_task(self._tell(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, key: tuple[str, str]) -> None:
        try:
            while self._under_way[key]:
                await self._ask(key)
        finally:
            del self._under_way[key]

    async def _ask(self, key: tuple[str, str]) -> None:
        """Send a RAR, and repeat it while it has no success and the session has not reported."""
        touched_ms: int | None = None
        result: int | str | None = None
        peer = ""
        for wait_s in (0.0, *AGAIN_S):
            await asyncio.sleep(wait_s)
            try:
                async with self._slots:
                    self._under_way[key] = False
                    session = await self._store.session(*key).wait()
                    if session is None or session.state != SessionState.OPEN:
                        return
                    if touched_ms is not None and session.touched_ms != touched_ms:
                        return
                    touched_ms = session.touched_ms
                    receipt = await self._send("rar", session)
                result, peer = receipt.result, self._label(session.peer)
                if result == NO_ROUTE:
                    self.unreached[peer] = self.unreached.get(peer, 0) + 1
                if result == UNKNOWN_SESSION:
                    await self._unknown(key[0], session, receipt)
                if result not in AGAIN:
                    return
            except self._trouble:
                continue
        if times := self._seldom.times((peer, result)):
            self._log.warning("rar.given_up", peer=peer, result=result, times=times)

    async def _unknown(self, account: str, session: Session, receipt: RequestReceipt) -> None:
        """charging.md section 5: only the session's own host knows that it has no such session; a relay or another host
        does not. What was in work meanwhile touches the session, and then it is left alone."""
        if receipt.by.lower() != session.peer.lower():
            return
        await asyncio.sleep(IN_WORK_S)
        ending = Expire(account, session.id, self._now_ms(), touched_ms=session.touched_ms)
        if (await self._store.expire(ending).wait()).status == "ok":
            self.ended += 1
            self._log.info("session.unknown_to_its_host", account=account, session=session.id, peer=session.peer)
