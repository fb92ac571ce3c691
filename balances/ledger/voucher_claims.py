"""Claims of vouchers: who redeemed which, and whether that is credited (charging.md section 18).

A claim is written here first, once for each voucher; the entry that credits it is an effect elsewhere and carries the
key of the voucher (durability.md rule 10), so any process that finds it missing may post it again. That it is there
says the transaction that copies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from balances import keys
from balances.structs.account import MAIN
from balances.structs.posting import BucketExtension, Post, Posting
from balances.structs.record import CounterAccount
from tariffs.units import Kind

KEPT_MS: Final = 30 * 86_400_000
"""How long Redis remembers that a voucher was credited; its claim in PostgreSQL says so for ever."""
WHY: Final = "voucher"
ClaimRow = Mapping[str, Any]
"""By the columns of `voucher_claims`."""


class VoucherGift(msgspec.Struct, array_like=True, frozen=True):
    """What the offer of its batch gives besides the money, as it stood when the voucher was claimed."""

    postings: list[Posting] = []
    extends: list[BucketExtension] = []
    resets: list[str] = []
    grace_until_ms: int = 0


NO_GIFT: Final = VoucherGift()
_gift: Final = msgspec.json.Decoder(VoucherGift).decode


def post_of(claim: ClaimRow, now_ms: int) -> Post:
    """The posting of a claim: always the same one, under the key of its voucher, so it is made once."""
    window_ms, until_ms = 0, 0
    if claim["valid_for_s"] is not None and claim["from_first_use"]:
        window_ms = claim["valid_for_s"] * 1_000
    elif claim["valid_for_s"] is not None:
        until_ms = claim["claimed_ms"] + claim["valid_for_s"] * 1_000
    plain = claim["kind"] == Kind.MONEY and not (claim["valid_for_s"] or claim["scope"] or claim["name"])
    posting = Posting(
        bucket=MAIN if plain else -1,
        kind=claim["kind"],
        amount=claim["amount"],
        counter_account=CounterAccount.VOUCHER,
        why=WHY,
        priority=claim["priority"],
        until_ms=until_ms,
        scope=[*claim["scope"]],
        name=claim["name"],
        window_ms=window_ms,
    )
    gift = _gift(claim["gift"]) if claim["gift"] is not None else NO_GIFT
    return Post(
        account=claim["account"],
        key=keys.voucher_key(claim["batch"], claim["serial"]),
        fingerprint=f"{claim['batch']} {claim['serial']} {claim['kind']} {claim['amount']}",
        now_ms=now_ms,
        postings=[posting, *gift.postings],
        own_only=False,
        remember_ms=KEPT_MS,
        actor=claim["claimed_by"],
        reason=f"voucher {claim['batch']} {claim['serial']}" + (f", offer {claim['offer']}" if claim["offer"] else ""),
        reference=claim["reference"],
        tags=claim["tags"],
        extends=gift.extends,
        resets=gift.resets,
        grace_until_ms=gift.grace_until_ms,
    )


async def write(pg: Any, credited: Sequence[tuple[Any, ...]]) -> None:
    """(batch, serial, entry, when): in the transaction that copies the entries."""
    if credited:
        await pg.executemany(
            "UPDATE voucher_claims SET seq = $3, credited_ms = $4 WHERE batch = $1 AND serial = $2", credited
        )


_CLAIM: Final = """
    SELECT c.*, b.kind, b.amount, b.valid_for_s, b.from_first_use, b.priority, b.scope, b.name, b.currency, b.offer
    FROM voucher_claims c JOIN voucher_batches b ON b.id = c.batch
"""


async def of_voucher(pg: Any, batch: str, serial: int) -> ClaimRow | None:
    row: ClaimRow | None = await pg.fetchrow(f"{_CLAIM} WHERE c.batch = $1 AND c.serial = $2", batch, serial)
    return row


async def of_request(pg: Any, request: str) -> ClaimRow | None:
    """What this caller's key has claimed."""
    row: ClaimRow | None = await pg.fetchrow(f"{_CLAIM} WHERE c.request = $1", request)
    return row


async def unfinished(
    pg: Any, before_ms: int, after: tuple[int, str, int] = (-1, "", 0), at_once: int = 100
) -> Sequence[ClaimRow]:
    """Claims from before then whose entry is not copied yet, the oldest first, after (claimed_ms, batch, serial): the
    process that made them may have ended."""
    rows: Sequence[ClaimRow] = await pg.fetch(
        f"{_CLAIM} WHERE c.credited_ms IS NULL AND c.claimed_ms < $1"
        " AND (c.claimed_ms, c.batch, c.serial) > ($2, $3, $4) ORDER BY c.claimed_ms, c.batch, c.serial LIMIT $5",
        before_ms,
        *after,
        at_once,
    )
    return rows
