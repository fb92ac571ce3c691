"""Top-ups with an offer: a payment, and what the offer gives besides, in one posting (charging.md 23)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from balances.structs.account import MAIN, Account, Bucket, Counter, SuspendReasons
from balances.structs.posting import BucketExtension, Post, Posting, PostingOutcome
from balances.structs.record import CounterAccount
from ocs.backoffice import accounts, postings
from ocs.backoffice.amounts import money
from ocs.backoffice.errors import AccountClosed, Invalid, NotFound, Unresolved
from ocs.backoffice.postings import REMEMBER_MS, Moved, Order
from ocs.master import offers
from ocs.master.offers import OfferBand, OfferBucket, OfferUnits, TopUpOffer
from ocs.master.prices_kept import check_prices_kept
from tariffs.ladder import LIMIT_MARK, limit_key_parts
from tariffs.units import Kind

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.accounts import AccountRow
    from ocs.master.changes import Expect

DAY_MS: Final = 86_400_000


async def put(backoffice: BackOffice, wanted: TopUpOffer, expect: Expect) -> TopUpOffer:
    """Make or change an offer; from the next top-up on it counts."""
    before = -1
    for place, band in enumerate(wanted.bands):
        at = f"bands[{place}]"
        if band.most is not None and band.most < band.least:
            raise Invalid(f"{at}.maximum", f"not below the minimum {money(band.least)}, found {money(band.most)}")
        if band.least <= before:
            raise Invalid(f"{at}.minimum", f"above the band before it, which ends at {money(before)}")
        if band.most is None and place < len(wanted.bands) - 1:
            raise Invalid(f"{at}.maximum", "needed but in the last band")
        before = band.least if band.most is None else band.most
        if len({one.bucket for one in band.extends}) < len(band.extends):
            raise Invalid(f"{at}.extends", "each bucket once")
        for given in (*([band.bonus] if band.bonus else []), *band.units):
            await postings.check_scope(backoffice, given.scope)
    if any(one.price for band in wanted.bands for one in band.units):
        await check_prices_kept(backoffice.pool)
    return await offers.put(backoffice.pool, wanted, expect)


async def get(backoffice: BackOffice, name: str) -> TopUpOffer:
    found = await offers.get(backoffice.pool, name)
    if found is None:
        raise NotFound(f"there is no offer {name}")
    return found


async def page(backoffice: BackOffice, after: str, limit: int) -> Sequence[TopUpOffer]:
    return await offers.page(backoffice.pool, after, limit)


async def delete(backoffice: BackOffice, name: str, expect: Expect) -> None:
    await offers.delete(backoffice.pool, name, expect)


class Gift(msgspec.Struct, frozen=True):
    """What an offer does for an account besides the payment."""

    offer: TopUpOffer
    postings: list[Posting]
    """To buckets of their own."""
    extends: list[BucketExtension]
    extended: list[tuple[Bucket, int]]
    """Buckets that end later by that, as they are, and when."""
    resets: list[Counter]
    """Of spending limits, as they are."""
    grace_until_ms: int = 0
    """Until when its grace goes on; 0: it is in none, or none ends later by that."""


async def gift(backoffice: BackOffice, row: AccountRow, name: str, paid: int) -> Gift:
    """What a payment of so many micro-units gives now by an offer. Raises Unresolved and Invalid, which say why it is
    not to be had, and AccountClosed."""
    offer = await offers.get(backoffice.pool, name)
    now, _ = await accounts.read(backoffice, row)
    return gift_of(row, now, name, offer, paid, backoffice.now_ms())


def gift_of(row: AccountRow, now: Account, name: str, offer: TopUpOffer | None, paid: int, now_ms: int) -> Gift:
    """The same of an offer that was looked up. now: the account"""
    if offer is None:
        raise Unresolved(f"offer: there is no offer {name}")
    if offer.currency != row.currency:
        raise Invalid("offer", f"{name} is for accounts in {offer.currency}, account {row.id} is in {row.currency}")
    band = offer.band_of(paid)
    if band is None:
        raise Invalid("amount", f"offer {name} takes {takes(offer)}, found {money(paid)}")
    if now.state & SuspendReasons.CLOSED:
        raise AccountClosed(postings.closed(row.id))
    now_ms = max(now_ms, now.clock_ms)
    extends = [BucketExtension(one.bucket, _after(one.days, now_ms)) for one in band.extends]
    return Gift(
        offer=offer,
        postings=_given(band, paid, now_ms),
        extends=extends,
        extended=_extended(now, extends, now_ms),
        resets=_limits(now, band.resets, now_ms),
        grace_until_ms=_grace(now, band, now_ms),
    )


def takes(offer: TopUpOffer) -> str:
    return ", ".join(
        f"{money(one.least)} or more" if one.most is None else f"{money(one.least)} to {money(one.most)}"
        for one in offer.bands
    )


def _after(days: int, now_ms: int) -> int:
    return now_ms + days * DAY_MS


def _given(band: OfferBand, paid: int, now_ms: int) -> list[Posting]:
    found = [_bucket(Kind.MONEY, bonus, band.bonus, now_ms)] if band.bonus and (bonus := band.bonus.of(paid)) else []
    return [*found, *(_units(one, now_ms) for one in band.units)]


def _units(one: OfferUnits, now_ms: int) -> Posting:
    made = _bucket(one.kind, one.amount, one, now_ms)
    made.is_part, made.price, made.per = one.is_part, one.price, one.per
    return made


def _bucket(kind: int, amount: int, like: OfferBucket, now_ms: int) -> Posting:
    return Posting(
        bucket=-1,
        kind=kind,
        amount=amount,
        counter_account=CounterAccount.TOP_UP,
        why="bonus",
        priority=like.priority,
        until_ms=_after(like.days, now_ms) if like.days else 0,
        scope=list(like.scope),
        name=like.name,
        bonus=True,
    )


def _extended(now: Account, extends: Sequence[BucketExtension], now_ms: int) -> list[tuple[Bucket, int]]:
    ends = {one.name: one.until_ms for one in extends}
    return [
        (bucket, ends[bucket.name])
        for bucket in now.buckets
        if bucket.name in ends and now_ms < bucket.until_ms < ends[bucket.name]
    ]


def _grace(now: Account, band: OfferBand, now_ms: int) -> int:
    until_ms = _after(band.grace_days, now_ms) if band.grace_days is not None else 0
    is_longer = now.state & SuspendReasons.GRACE and now_ms < now.grace_until_ms < until_ms
    return until_ms if is_longer else 0


def _limits(now: Account, names: Sequence[str], now_ms: int) -> list[Counter]:
    """Counters of these limits in the period of now, of the account and of its subscribers."""
    return [
        counter
        for counter in now.counters
        if counter.key.startswith(LIMIT_MARK)
        and limit_key_parts(counter.key)[1] in names
        and (not counter.until_ms or counter.until_ms > now_ms)
    ]


async def top_up(
    backoffice: BackOffice, account: str, name: str, paid: int, order: Order
) -> tuple[AccountRow, PostingOutcome]:
    """Pay into the main balance, with what the offer gives: all of it or nothing, once for the key of the order."""
    row = await accounts.find(backoffice, account)
    wanted = Post(
        account=row.id,
        key=order.key,
        fingerprint=order.fingerprint,
        now_ms=backoffice.now_ms(),
        remember_ms=REMEMBER_MS,
        actor=order.actor,
        reason=order.reason,
        reference=order.reference,
        postings=[Posting(MAIN, Kind.MONEY, paid, CounterAccount.TOP_UP, "top-up")],
        tags=order.tags,
    )

    async def complete() -> None:
        """Only of what was not done before: of a repeat the offer may be another one now, or none."""
        given = await gift(backoffice, row, name, paid)
        wanted.postings += given.postings
        wanted.extends = given.extends
        wanted.resets = [counter.key for counter in given.resets]
        wanted.grace_until_ms = given.grace_until_ms

    return row, await postings.post(backoffice, row, wanted, complete, Moved(order.warrant, {Kind.MONEY: paid}))
