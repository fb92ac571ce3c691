"""The store with its calls counted: how long they took, how many were lost. Costs half a microsecond a call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from balances.keys import SHARDS, shard_of
from balances.redis.calls import RedisCall
from balances.redis.link import StoreLink
from balances.redis.pending import Pending
from balances.redis.scripts import LIBRARY
from balances.redis.store import Store
from balances.structs.charge import Action, Charge, Reply
from balances.structs.posting import AccountClosing, AccountOperation, Expire, Fee, Post, Transfer
from ocs.clock import monotonic_us
from ocs.net.admission import Waits
from ocs.stores.witness import Answered, Witness
from ocs.telemetry import metrics


class MeteredStore(Store):
    def __init__(self, link: StoreLink, meter: metrics.Meter, witness: Witness | None = None) -> None:
        super().__init__(link)
        self.witness = witness
        self.waits = Waits()
        """Of charges."""
        for script in (*LIBRARY.functions, "command"):
            meter.read(metrics.STORE_LOST, script, by=partial(link.lost.__getitem__, script))
        meter.read(metrics.SHARDS_SHUT, by=lambda: SHARDS - link.open_shards)
        self._charge_time = meter.histogram(metrics.STORE_TIME, "charge")
        self._sweep_time = meter.histogram(metrics.STORE_TIME, "sweep")
        self._fee_time = meter.histogram(metrics.STORE_TIME, "fee")
        self._post_time = meter.histogram(metrics.STORE_TIME, "post")

    def _reply_to(self, charge: Charge, shard: int) -> Callable[[list[Any]], Reply]:
        """Count a call and keep it for the witness, with one closure only, because this is the hot path."""
        began_us, reply_of, times, waits = monotonic_us(), self._reply, self._charge_time, self.waits
        witness = self.witness if charge.action < Action.CHECK and charge.key else None

        def decoded(raw: list[Any]) -> Reply:
            waited_us = monotonic_us() - began_us
            times.add(waited_us)
            waits.answers += 1
            waits.waited_us += waited_us
            reply = reply_of(raw)
            if witness is not None and reply.status == "ok":
                epoch = self.link.epoch_of(shard) or b"0"
                witness.answers.append(
                    Answered(epoch, charge.account, charge.session, charge.key, charge.now_ms, reply.outcome, False)
                )
            return reply

        return decoded

    def post(self, post: Post) -> Pending[Reply]:
        return self._witnessed(self._metered(super().post(post), self._post_time), post)

    def transfer(self, transfer: Transfer) -> Pending[Reply]:
        return self._witnessed(self._metered(super().transfer(transfer), self._post_time), transfer)

    def close(self, close: AccountClosing) -> Pending[Reply]:
        return self._witnessed(self._metered(super().close(close), self._post_time), close)

    def fee(self, fee: Fee) -> Pending[Reply]:
        return self._metered(super().fee(fee), self._fee_time)

    def expire(self, expiry: Expire) -> Pending[Reply]:
        return self._metered(super().expire(expiry), self._sweep_time)

    def _metered(self, call: Pending[Reply], times: metrics.Histogram) -> Pending[Reply]:
        """A decoder that also counts the call."""
        assert isinstance(call, RedisCall)
        decode: Callable[[Any], Reply] | None = call.decode
        assert decode is not None
        began_us = monotonic_us()

        def decoded(raw: Any) -> Reply:
            times.add(monotonic_us() - began_us)
            return decode(raw)

        call.decode = decoded
        return call

    def _witnessed(self, call: Pending[Reply], operation: AccountOperation) -> Pending[Reply]:
        """A decoder that also keeps the answer for the witness: if the live store loses it, only this process knows
        it."""
        witness = self.witness
        if witness is None or not operation.key:
            return call
        assert isinstance(call, RedisCall)
        decode = call.decode
        assert decode is not None

        def decoded(raw: Any) -> Reply:
            reply: Reply = decode(raw)
            if reply.status == "ok":
                epoch = self.link.epoch_of(shard_of(operation.account)) or b"0"
                witness.answers.append(
                    Answered(epoch, operation.account, "", operation.key, operation.now_ms, reply.outcome, True)
                )
            return reply

        call.decode = decoded
        return call
