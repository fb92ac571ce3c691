"""Vouchers: batches of codes, and their redemption, once each (charging.md section 18)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from balances.ledger import voucher_claims
from balances.ledger.in_words import time_of
from balances.ledger.voucher_claims import ClaimRow, VoucherGift
from balances.structs.account import BUCKETS_MAX, Account, SuspendReasons
from balances.structs.posting import PostingOutcome
from ocs.backoffice import accounts, postings
from ocs.backoffice import offers as gifts
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.errors import (
    AccountClosed,
    BackOfficeError,
    Conflict,
    Forgotten,
    Invalid,
    KeyReused,
    LockedOut,
    NoRoom,
    NotFound,
    Unresolved,
)
from ocs.backoffice.postings import Order
from ocs.charging.currencies import NUMBERS
from ocs.config.backoffice import VoucherRules
from ocs.events.outbox import emit
from ocs.events.types import VoucherBatchExported, VoucherLockedOut, VoucherRedeemed
from ocs.master import offers, voucher_tries
from ocs.master import vouchers as rows
from ocs.master.voucher_codes import (
    BITS_DEFAULT,
    IMPORTED_MAX,
    IMPORTED_MIN,
    CodeAlphabet,
    bits_of,
    is_mistyped,
    read_code,
    shown,
)
from ocs.master.voucher_keys import VoucherKeys
from ocs.master.voucher_tries import Guesser
from ocs.master.vouchers import BatchRow, VoucherBatch, VoucherRow
from tariffs.units import EXACT_MAX, Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow

COUNT_MAX: Final = 100_000
BITS_MIN: Final = 32
"""Also with a lock-out."""
RIGHT: Final = "redeemed"
REFUSED: Final = {
    "made": "the voucher is worth nothing yet: its batch has not been activated",
    "blocked": "the voucher is blocked",
    "expired": "the voucher has expired",
    "moved": "the voucher is good on another server",
    "redeemed": "the voucher was redeemed before",
}
"""Why a voucher in one of these states is not redeemed."""


# --- batches


async def make_batch(backoffice: BackOffice, batch: VoucherBatch, actor: str) -> BatchRow:
    """Make a batch and its codes; the same again goes on where it was cut off, and makes nothing twice."""
    keys, imported = backoffice.vouchers.keys, batch.alphabet is CodeAlphabet.IMPORTED
    if backoffice.vouchers.rules.wrong_max == 0 and (imported or bits_of(batch.alphabet, batch.length) < BITS_DEFAULT):
        raise Invalid(
            "length", f"less than {BITS_DEFAULT} bits of randomness only with a lock-out (vouchers.wrong_max)"
        )
    if not imported and bits_of(batch.alphabet, batch.length) < BITS_MIN:
        raise Invalid("length", f"at least {BITS_MIN} bits of randomness")
    if (batch.count == 0) != imported:
        raise Invalid("count", "0 for codes that are imported, else more")
    if batch.currency and batch.currency not in NUMBERS:
        raise Invalid("currency", f"expected an ISO 4217 code such as EUR, found {batch.currency}")
    if batch.valid_for_s is None and batch.from_first_use:
        raise Invalid("from_first_use", "only beside valid_for_s")
    past = batch.expires_ms is not None and batch.expires_ms <= backoffice.now_ms()
    if past and await rows.get(backoffice.pool, batch.id) is None:
        raise Invalid("expires", "in the future")
    await postings.check_scope(backoffice, batch.scope)
    if batch.offer and await rows.get(backoffice.pool, batch.id) is None:  # one that was cut off goes on
        await _check_offer(backoffice, batch)
    row = await rows.insert(backoffice.pool, batch, actor, backoffice.now_ms())
    while row["made"] < row["count"]:
        row = {**row, "made": await rows.make_lot(backoffice.pool, row, keys)}
    return row


async def _check_offer(backoffice: BackOffice, batch: VoucherBatch) -> None:
    """Raises Invalid, Unresolved: what it is worth is a payment into the main balance that the offer takes."""
    if batch.kind != Kind.MONEY or batch.valid_for_s or batch.scope or batch.name:
        raise Invalid("offer", "only of money for the main balance: without valid_for_s, scope and name")
    offer = await offers.get(backoffice.pool, batch.offer)
    if offer is None:
        raise Unresolved(f"offer: there is no offer {batch.offer}")
    if offer.currency != batch.currency:
        raise Invalid("offer", f"{batch.offer} is for {offer.currency}, the vouchers are in {batch.currency}")
    if offer.band_of(batch.amount) is None:
        raise Invalid("amount", f"offer {batch.offer} takes {gifts.takes(offer)}, found {money(batch.amount)}")


async def batch_of(backoffice: BackOffice, batch: str) -> BatchRow:
    row = await rows.get(backoffice.pool, batch)
    if row is None:
        raise NotFound(f"there is no batch {batch}")
    return row


async def batches(backoffice: BackOffice, after: str, limit: int) -> Sequence[BatchRow]:
    """In the order of ids, after the given one."""
    return await rows.page(backoffice.pool, after, limit)


async def take_in(backoffice: BackOffice, batch: str, codes: Sequence[str]) -> tuple[BatchRow, int]:
    """Take in codes that were made elsewhere; the batch, and how many of these it had before."""
    row = await batch_of(backoffice, batch)
    if row["alphabet"] != CodeAlphabet.IMPORTED:
        raise Conflict(f"the codes of batch {batch} are made here")
    if row["moved_ms"] is not None:
        raise Conflict(f"{_moved(row)}: put codes into it there")
    read = [read_code(code) for code in codes]
    for place, code in enumerate(read):
        if not (IMPORTED_MIN <= len(code) <= IMPORTED_MAX and code.isascii() and code.isalnum()):
            raise Invalid(f"codes[{place}]", f"{IMPORTED_MIN} to {IMPORTED_MAX} letters and digits")
    made, known = await rows.take_in(backoffice.pool, batch, read, backoffice.vouchers.keys)
    return {**row, "made": made}, known


async def set_state(backoffice: BackOffice, batch: str, state: str, *, takes_back: bool = False) -> BatchRow:
    """`active`, `blocked` or `moved`, for all of its vouchers that are not redeemed.

    takes_back: from another server, to which it was moved
    """
    row = await batch_of(backoffice, batch)
    if state == "moved":
        if row["made"] < row["count"]:
            raise Conflict(f"{row['made']} of its {row['count']} codes are made: make the batch again first")
        moved = await rows.move_away(backoffice.pool, batch, backoffice.now_ms())
        assert moved is not None
        return moved
    if row["moved_ms"] is not None and not takes_back:
        raise Conflict(
            f"{_moved(row)}: move it away there (state moved), import its vouchers from there here, then activate it"
            " with take_back (ocs voucher activate --take-back)"
        )
    if state == "active" and row["made"] < row["count"]:
        raise Conflict(f"{row['made']} of its {row['count']} codes are made: make the batch again first")
    changed = await rows.set_state(backoffice.pool, batch, state)
    assert changed is not None
    return changed


def _moved(row: BatchRow) -> str:
    return f"batch {row['id']} was moved to another server on {time_of(row['moved_ms'])}"


async def exported(backoffice: BackOffice, batch: str, actor: str) -> AsyncIterator[list[tuple[int, str]]]:
    """The plain codes, in lots of (serial, code). Once all of them were taken they are kept no more; who was cut off
    before may begin again. Each time it is told (event `voucher_batch.exported`)."""
    keys, row = backoffice.vouchers.keys, await batch_of(backoffice, batch)
    if row["alphabet"] == CodeAlphabet.IMPORTED:
        raise Conflict("imported codes are never kept in clear")
    if row["moved_ms"] is not None:
        raise Conflict(f"{_moved(row)}: take its codes out there")
    if row["exported_ms"] is not None:
        raise Forgotten(f"its codes went out on {time_of(row['exported_ms'])}, and are not kept any more")
    await _tell_export(backoffice, row, actor, complete=False)
    return _lots(backoffice, row, actor, keys)


async def _lots(
    backoffice: BackOffice, row: BatchRow, actor: str, keys: VoucherKeys
) -> AsyncIterator[list[tuple[int, str]]]:
    at = 1
    while (lot := await rows.sealed_codes(backoffice.pool, row["id"], at, keys)) is not None:
        first, codes = lot
        yield [(serial, shown(code)) for serial, code in enumerate(codes, first)]
        at = first + len(codes)
    await _tell_export(backoffice, row, actor, complete=True)


async def _tell_export(backoffice: BackOffice, row: BatchRow, actor: str, *, complete: bool) -> None:
    now_ms, batch = backoffice.now_ms(), row["id"]
    async with backoffice.pool.acquire() as pg, pg.transaction():
        if complete:
            await pg.execute("UPDATE voucher_batches SET exported_ms = $2 WHERE id = $1", batch, now_ms)
            await pg.execute("DELETE FROM voucher_codes WHERE batch = $1", batch)
        told = VoucherBatchExported(batch, row["made"], actor, complete)
        key = f"{batch}/{now_ms}/{complete}"
        await emit(pg, "voucher_batch.exported", told, at_ms=now_ms, key=key, subject=batch)


class BatchReport(NamedTuple):
    """How many of a batch are what."""

    redeemed: int
    credited: int
    """Of those redeemed, how many are in the ledger."""
    blocked: int
    outstanding: int
    """Could be redeemed here once the batch is active, and has not ended."""


async def report(backoffice: BackOffice, row: BatchRow) -> BatchReport:
    redeemed, credited, blocked = await rows.counts(backoffice.pool, row["id"])
    here = row["made"] if row["moved_ms"] is None else redeemed + blocked
    return BatchReport(redeemed, credited, blocked, here - redeemed - blocked)


# --- single vouchers


def state_of(voucher: VoucherRow, now_ms: int) -> str:
    """made, active, blocked, redeemed, expired or moved."""
    if voucher["claimed_ms"] is not None:
        return RIGHT
    if voucher["moved_ms"] is not None:
        return "moved"
    if voucher["blocked"] or voucher["batch_state"] == "blocked":
        return "blocked"
    if voucher["expires_ms"] is not None and voucher["expires_ms"] <= now_ms:
        return "expired"
    return str(voucher["batch_state"])


async def voucher_of(backoffice: BackOffice, batch: str, serial: int) -> VoucherRow:
    found = await rows.by_serial(backoffice.pool, batch, serial)
    if found is None:
        raise NotFound(f"there is no voucher {serial} in a batch {batch}")
    return found


async def of_batch(backoffice: BackOffice, batch: str, after: int, limit: int) -> Sequence[VoucherRow]:
    await batch_of(backoffice, batch)
    return await rows.vouchers_of(backoffice.pool, batch, after, limit)


async def redeemed_by(backoffice: BackOffice, account: str, limit: int) -> Sequence[VoucherRow]:
    """The newest first."""
    await accounts.find(backoffice, account)
    return await rows.redeemed_by(backoffice.pool, account, limit)


async def voucher_with(backoffice: BackOffice, code: str) -> VoucherRow:
    """The voucher that has this code, for a care desk."""
    found = await rows.by_code(backoffice.pool, read_code(code), backoffice.vouchers.keys)
    if found is None:
        raise NotFound("no voucher has this code")
    return found


async def block(backoffice: BackOffice, batch: str, serial: int, *, blocked: bool) -> VoucherRow:
    """Block a voucher, or unblock it; one that is redeemed stays redeemed."""
    if (await voucher_of(backoffice, batch, serial))["claimed_ms"] is not None:
        raise Conflict("it is redeemed already")
    await rows.block(backoffice.pool, batch, serial, blocked=blocked)
    return await voucher_of(backoffice, batch, serial)


# --- redemption


class WantedRedemption(NamedTuple):
    code: str
    account: str
    source: str
    """Where the code was typed: a number, an address; "" where nobody says."""
    expected: tuple[int, int] | None = None
    """Kind and amount that it is said to be worth; None: nobody says. Of another worth it is not redeemed."""


async def redeem(
    backoffice: BackOffice, wanted: WantedRedemption, order: Order
) -> tuple[AccountRow, ClaimRow, PostingOutcome]:
    """Claim the voucher in PostgreSQL, once; then credit it, under the key of the voucher."""
    row = await accounts.find(backoffice, wanted.account)
    known = await voucher_claims.of_request(backoffice.pool, order.key)
    if known is not None:
        if known["fingerprint"] != order.fingerprint:
            raise KeyReused
        return await _credited(backoffice, row, known)
    now, _ = await accounts.read(backoffice, row)
    if now.state & SuspendReasons.CLOSED:
        raise AccountClosed(postings.closed(row.id))
    async with backoffice.pool.acquire() as pg, pg.transaction():
        outcome = await _claim(backoffice, pg, row, now, wanted, order)
    claim, refused, word = outcome
    backoffice.vouchers.tries[word,] += 1
    if refused is not None:
        raise refused
    assert claim is not None
    return await _credited(backoffice, row, claim)


class ClaimOutcome(NamedTuple):
    """What became of a try. What is refused is counted too, so its transaction commits."""

    claim: ClaimRow | None
    refused: BackOfficeError | None
    word: str


async def _claim(
    backoffice: BackOffice,
    pg: Any,
    row: AccountRow,
    now: Account,
    wanted: WantedRedemption,
    order: Order,
) -> ClaimOutcome:
    desk, now_ms = backoffice.vouchers, backoffice.now_ms()
    guessers: list[Guesser] = [("account", row.id)]
    if wanted.source:
        guessers.append(("source", wanted.source))
    if desk.rules.wrong_max:
        locked_ms = await voucher_tries.count(pg, guessers, desk.rules, now_ms)
        if locked_ms:
            await voucher_tries.take_back(pg, guessers, forgiven=False)
            why, wait_s = (
                f"too many wrong codes: no code is looked at before {time_of(locked_ms)}",
                -(-(locked_ms - now_ms) // 1_000),
            )
            return ClaimOutcome(None, LockedOut(why, retry_after_s=wait_s), "locked-out")
    code = read_code(wanted.code)
    voucher = await rows.by_code(pg, code, desk.keys)
    if voucher is None:
        if is_mistyped(code) and not await _any_imported(pg):
            await voucher_tries.take_back(pg, guessers, forgiven=False)
            return ClaimOutcome(
                None, Invalid("code", "mistyped: its last character does not fit the others"), "mistyped"
            )
        await _wrong(pg, guessers, desk.rules, now_ms)
        return ClaimOutcome(None, NotFound("no voucher has this code"), "wrong")
    state = state_of(voucher, now_ms)
    gift: VoucherGift | None = None
    if state == "active":
        try:
            _check_worth(row, voucher, wanted.expected)
            gift = await _gift(pg, row, now, voucher, now_ms)
            _check_room(now, voucher, gift)
        except BackOfficeError as refused:
            await voucher_tries.take_back(pg, guessers, forgiven=False)
            return ClaimOutcome(None, refused, "misfit")
    claim = await _insert(pg, voucher, row, wanted, order, now_ms, gift) if state == "active" else None
    if claim is None:
        again = await voucher_claims.of_request(pg, order.key)  # the same request, at the same time
        if again is not None and again["fingerprint"] == order.fingerprint:
            await voucher_tries.take_back(pg, guessers, forgiven=False)
            return ClaimOutcome(again, None, RIGHT)
        state = RIGHT if state == "active" else state
        if voucher["account"] == row.id:
            await voucher_tries.take_back(pg, guessers, forgiven=False)
        else:
            await _wrong(pg, guessers, desk.rules, now_ms)
        return ClaimOutcome(None, Conflict(REFUSED[state], state=state), f"was-{state}")
    await voucher_tries.take_back(pg, guessers, forgiven=True)
    told = VoucherRedeemed(
        row.id,
        voucher["batch"],
        voucher["serial"],
        KINDS[voucher["kind"]],
        row.currency,
        quantity(voucher["kind"], voucher["amount"]),
        order.actor,
        wanted.source,
        order.reference,
    )
    key = f"{voucher['batch']}/{voucher['serial']}"
    await emit(pg, "voucher.redeemed", told, at_ms=now_ms, key=key, subject=row.id, account=row.id)
    return ClaimOutcome(claim, None, RIGHT)


FULL: Final = "it would pass 2^53 (all the account has of one kind counts), or the account is full of buckets"


def _check_worth(row: AccountRow, voucher: VoucherRow, expected: tuple[int, int] | None) -> None:
    """Raises what it is worth, where that is not money of the account or not what was said."""
    kind = voucher["kind"]
    if expected is not None and expected != (kind, voucher["amount"]):
        unit = voucher["currency"] or KINDS[kind]
        raise Conflict(f"the voucher is worth {quantity(kind, voucher['amount'])} {unit}, and not what was said")
    if kind == Kind.MONEY and voucher["currency"] != row.currency:
        raise Conflict(f"the voucher is in {voucher['currency']}, the account in {row.currency}")


def _check_room(now: Account, voucher: VoucherRow, gift: VoucherGift | None) -> None:
    """Raises why an account cannot take it: found before it is claimed, since a claim is not taken back."""
    given = gift.postings if gift is not None else []
    comes = {kind: sum(one.amount for one in given if one.kind == kind) for kind in Kind}
    comes[Kind(voucher["kind"])] += voucher["amount"]
    for bucket in now.buckets:
        comes[Kind(bucket.kind)] += max(bucket.amount, 0)
    if max(comes.values()) >= EXACT_MAX or len(now.buckets) + max(len(given), 1) > BUCKETS_MAX:
        raise NoRoom(FULL)


async def _gift(pg: Any, row: AccountRow, now: Account, voucher: VoucherRow, now_ms: int) -> VoucherGift | None:
    """What the offer of its batch gives now. Raises why it is not to be had."""
    if not voucher["offer"]:
        return None
    offer = await offers.get(pg, voucher["offer"])
    found = gifts.gift_of(row, now, voucher["offer"], offer, voucher["amount"], now_ms)
    return VoucherGift(found.postings, found.extends, [counter.key for counter in found.resets], found.grace_until_ms)


async def _insert(
    pg: Any,
    voucher: VoucherRow,
    row: AccountRow,
    wanted: WantedRedemption,
    order: Order,
    now_ms: int,
    gift: VoucherGift | None,
) -> ClaimRow | None:
    """The claim, if nobody has it and it is redeemable still; blocking waits for it, and it for a block."""
    made = await pg.fetchval(
        "INSERT INTO voucher_claims"
        " (batch, serial, account, source, reference, claimed_ms, claimed_by, request, fingerprint, tags,"
        " gift)"
        " SELECT v.batch, v.serial, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb"
        " FROM vouchers v JOIN voucher_batches b ON b.id = v.batch"
        " WHERE v.batch = $1 AND v.serial = $2 AND NOT v.blocked AND v.redeemed_ms IS NULL AND b.state = 'active'"
        " FOR SHARE ON CONFLICT DO NOTHING RETURNING serial",
        voucher["batch"],
        voucher["serial"],
        row.id,
        wanted.source,
        order.reference,
        now_ms,
        order.actor,
        order.key,
        order.fingerprint,
        order.tags,
        None if gift is None else msgspec.json.encode(gift).decode(),
    )
    return None if made is None else await voucher_claims.of_voucher(pg, voucher["batch"], voucher["serial"])


async def _any_imported(pg: Any) -> bool:
    query = "SELECT EXISTS (SELECT FROM voucher_batches WHERE alphabet = $1)"
    return bool(await pg.fetchval(query, CodeAlphabet.IMPORTED))


async def _wrong(pg: Any, guessers: Sequence[Guesser], rules: VoucherRules, now_ms: int) -> None:
    if not rules.wrong_max:
        return
    for (kind, name), wrong in await voucher_tries.lock_out(pg, guessers, rules, now_ms):
        until = time_of(now_ms + rules.locked_s * 1_000)
        told = msgspec.convert({"kind": kind, "name": name, "wrong": wrong, "until": until}, VoucherLockedOut)
        account = name if kind == "account" else ""
        key = f"{kind}/{name}/{now_ms}"
        await emit(pg, "voucher.locked_out", told, at_ms=now_ms, key=key, subject=name, account=account)


async def _credited(
    backoffice: BackOffice, row: AccountRow, claim: ClaimRow
) -> tuple[AccountRow, ClaimRow, PostingOutcome]:
    """Post the entry of a claim; the key of the voucher makes it one entry, whoever else completes it. The claim knows
    its entry for longer than any store remembers that key."""
    if row.id != claim["account"]:
        row = await accounts.find(backoffice, claim["account"])
    credit = voucher_claims.post_of(claim, backoffice.now_ms())
    if claim["seq"] is not None and await postings.recall(backoffice, row.id, credit.key) is None:
        return row, claim, await postings.outcome_of(backoffice, row, claim["seq"])
    return row, claim, await postings.post(backoffice, row, credit)
