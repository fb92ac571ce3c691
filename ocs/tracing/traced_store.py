"""The store as a traced request uses it: what is asked and what is replied is noted on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from balances.keys import AccountKeys
from balances.redis.pending import Pending
from balances.structs.charge import Charge, Reply
from balances.structs.record import Record
from ocs.charging.decide import copied_charge
from ocs.charging.handle import ChargeCall, ChargingStore
from ocs.tracing.sighting import StoreCall

OUTCOMES = frozenset({"ok", "again"})


class TracedStore:
    """calls: gets each call
    since_us: how long ago the message came"""

    def __init__(self, store: ChargingStore, calls: list[StoreCall], since_us: Callable[[], int]) -> None:
        self._store, self._calls, self._since_us = store, calls, since_us

    def charge(self, charge: Charge, context: bytes, of: AccountKeys | None = None) -> ChargeCall:
        call = StoreCall(copied_charge(charge), self._since_us())  # the same charge may be changed and sent again
        self._calls.append(call)
        passed_on: Pending[Reply] = Pending()

        def replied(reply: Reply | None, error: BaseException | None) -> None:
            call.replied_us = self._since_us()
            if reply is None:
                call.error = f"{type(error).__name__}: {error}"
                passed_on.fail(error if error is not None else RuntimeError("no reply"))
                return
            call.status, call.marks = reply.status, reply.marks
            if reply.status in OUTCOMES:
                call.outcome = reply.outcome
            passed_on.resolve(reply)

        self._store.charge(charge, context, of).then(replied)
        return passed_on

    # ---- all else as it is

    def aside(self, record: Record, context: bytes) -> Awaitable[Reply]:
        return self._store.aside(record, context)

    def not_opened(self, account: str, session: str, subscriber: str) -> None:
        self._store.not_opened(account, session, subscriber)

    def where(self, session: str) -> Awaitable[tuple[str, str] | None]:
        return self._store.where(session)

    def remark(self, peer: str, mark: str) -> object:
        return self._store.remark(peer, mark)

    @property
    def opened_ms(self) -> int:
        return self._store.opened_ms
