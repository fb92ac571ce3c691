"""A refund of an event that is reversed: what it gave back may be given back again (charging.md 17). Twin of
lua/lib/refunded_again.lua."""

from __future__ import annotations

import copy

import msgspec

from balances.structs.blob import blob_of
from balances.structs.posting import Post
from balances.structs.session import IdempotencyRecord


def refundable_again(post: Post, stored: IdempotencyRecord | None) -> IdempotencyRecord | None:
    """The original as it is after that; None: nobody knows it any more, or another event has its
    key. The post may bring it too."""
    brought = blob_of(post.original)
    if stored is None and not brought:
        return None
    paid = copy.deepcopy(stored) if stored else msgspec.msgpack.decode(brought, type=IdempotencyRecord)
    refund = msgspec.msgpack.decode(blob_of(post.refund), type=IdempotencyRecord)
    if refund.terms != f"{paid.fingerprint} {paid.end_to_end}":
        return None
    for back, take in zip(paid.takes, refund.takes, strict=True):
        back.amount += take.amount
    for raised, count in zip(paid.counted, refund.counted, strict=True):
        raised.amount += count.amount
    paid.units += refund.units
    paid.cost += refund.cost
    return paid
