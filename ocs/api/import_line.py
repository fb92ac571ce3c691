"""Reads one line of an import from its JSON or its cells: the wanted rows, or an Objection that names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import msgspec

from balances.keys import fee_chain
from balances.structs.account import NEVER, CounterWindow, SuspendReasons
from balances.structs.thresholds import ServiceSuspension, Threshold
from ocs.api import schema
from ocs.api.members import Twice, each_once
from ocs.api.operation import field_and_fault
from ocs.api.routes_limits import limit_of
from ocs.api.routes_subscribers import assignment_of
from ocs.api.routes_vouchers import batch_of
from ocs.api.schema_import import (
    ImportAccount,
    ImportBucket,
    ImportCounter,
    ImportFee,
    ImportFees,
    ImportLimit,
    ImportLine,
    ImportPaidFee,
    ImportServiceLine,
    ImportSubscriber,
    ImportThreshold,
    ImportVoucherBatch,
    ImportVouchers,
)
from ocs.api.texts import hours_of, ms_of
from ocs.api.threshold_views import service_line_of, threshold_of
from ocs.backoffice.accounts import is_zone
from ocs.backoffice.amounts import KIND_OF, amount_of, micro_of
from ocs.backoffice.bucket_prices import reduced
from ocs.backoffice.errors import Invalid
from ocs.backoffice.postings import BONUS_PRIORITY
from ocs.backoffice.subscribers import identity_of
from ocs.charging.currencies import NUMBERS
from ocs.master.accounts import AccountRow, OpeningBucket, OpeningCounter
from ocs.master.brought_vouchers import Brought, BroughtBatch, BroughtLot, RedeemedElsewhere
from ocs.master.bulk_rows import Objection, WantedLine
from ocs.master.fee_assignments import BegunFee, BegunFees, OpeningFee
from ocs.master.passwords import is_stored
from ocs.master.subscribers import Subscriber
from ocs.master.voucher_codes import CodeAlphabet
from tariffs.limits import SpendingLimit, read_period
from tariffs.thresholds import NAME, NAME_IN_WORDS
from tariffs.units import EXACT_MAX, Kind

_decode: Final = msgspec.json.Decoder(ImportLine).decode
LARGEST: Final = "money or units of one kind together: less than 2^53"


def from_json(text: bytes, actor: str) -> WantedLine | Brought:
    """Raises an Objection."""
    try:
        line = _decode(text)
        each_once(text)
    except msgspec.ValidationError as why:
        raise _invalid(why) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise Objection("malformed", "", f"not JSON: {why}") from None
    except Twice as why:
        raise Objection("malformed", "", str(why)) from None
    return _wanted(line, actor)


def from_members(members: dict[str, Any], actor: str) -> WantedLine | Brought:
    """The same of the members of the JSON object that a line of CSV stands for."""
    try:
        line = msgspec.convert(members, ImportLine)
    except msgspec.ValidationError as why:
        raise _invalid(why) from None
    return _wanted(line, actor)


def _invalid(why: msgspec.ValidationError) -> Objection:
    return Objection("invalid", *field_and_fault(why))


def _wanted(line: ImportLine, actor: str) -> WantedLine | Brought:
    alone = [one for one in (line.voucher_batch, line.vouchers) if one is not None]
    if alone and (len(alone) > 1 or line.account is not None or line.subscriber is not None):
        raise Objection("invalid", "", "expected a batch of vouchers, or vouchers, alone in their line")
    if line.voucher_batch is not None:
        return _brought_batch(line.voucher_batch)
    if line.vouchers is not None:
        return _brought_lot(line.vouchers)
    if line.account is None and line.subscriber is None:
        raise Objection("invalid", "", "expected an account, a subscriber or both, a batch of vouchers, or vouchers")
    account, account_says = (None, {}) if line.account is None else _account(line.account, actor)
    subscriber, subscriber_says = (None, []) if line.subscriber is None else _subscriber(line.subscriber, account)
    return WantedLine(
        account=account,
        account_says=account_says,
        subscriber=subscriber,
        subscriber_says=subscriber_says,
        password=line.subscriber.password if line.subscriber is not None else None,
        stored_password=None if line.subscriber is None else _stored_password(line.subscriber),
        account_limits=None if line.account is None else _limits("account", line.account.limits),
        subscriber_limits=None if line.subscriber is None else _limits("subscriber", line.subscriber.limits),
        fees=() if line.subscriber is None else _fees(line.subscriber.fees or (), subscriber),
    )


def _brought_batch(given: ImportVoucherBatch) -> BroughtBatch:
    try:
        batch = batch_of(given.id, given)
    except Invalid as why:
        raise Objection("invalid", f"voucher_batch.{why.field}", why.message) from None
    if batch.currency and batch.currency not in NUMBERS:
        raise Objection("invalid", "voucher_batch.currency", f"expected an ISO 4217 code, found {batch.currency}")
    if (batch.count == 0) != (batch.alphabet is CodeAlphabet.IMPORTED):
        raise Objection("invalid", "voucher_batch.count", "0 for codes that are imported, else more")
    return BroughtBatch(batch, given.state, _objecting(ms_of, given.exported, "voucher_batch.exported"))


def _brought_lot(given: ImportVouchers) -> BroughtLot:
    serials = range(given.first, given.first + len(given.digests))
    redeemed = [
        RedeemedElsewhere(one.serial, _objecting(ms_of, one.time, f"vouchers.redeemed[{at}].time"), one.account)
        for at, one in enumerate(given.redeemed)
    ]
    for field, named in (("blocked", given.blocked), ("redeemed", [one.serial for one in redeemed])):
        if len({*named}) < len(named) or any(serial not in serials for serial in named):
            raise Objection("invalid", f"vouchers.{field}", "expected serial numbers of the line, each once")
    digests = [bytes.fromhex(one) for one in given.digests]
    return BroughtLot(given.batch, given.first, digests, given.blocked, redeemed, given.sealed)


def _account(given: ImportAccount, actor: str) -> tuple[AccountRow, dict[str, Any]]:
    """The account row, and the fields that were given, as they were given."""
    if given.currency not in NUMBERS:
        raise Objection("invalid", "account.currency", f"expected an ISO 4217 code such as EUR, found {given.currency}")
    if given.time_zone is not None and not is_zone(given.time_zone):
        detail = f"expected a name such as Europe/Berlin, found {given.time_zone!r}"
        raise Objection("invalid", "account.time_zone", detail)
    below, resume = _micro(given, "suspend_below"), _micro(given, "resume_at")
    row = AccountRow(
        id=given.id,
        currency=given.currency,
        time_zone=given.time_zone or "UTC",
        credit_limit=_micro(given, "credit_limit") or 0,
        suspend_below=NEVER if below is None else below,
        resume_at=resume if resume is not None else NEVER if below is None else below,
        balance=_micro(given, "balance") or 0,
        buckets=tuple(one for at, bucket in enumerate(given.buckets or ()) for one in _buckets(at, bucket)),
        opened_by=actor,
        thresholds=_thresholds(given.thresholds or ()),
        services=_services(given.services or ()),
        created=given.created or given.state == "created",
        customer=given.customer or "",
        tags=tuple(sorted({*(given.tags or ())})),
        billing_day=given.billing_day or 1,
        state=_state(given),
        grace_until_ms=_objecting(ms_of, given.grace_until, "account.grace_until") or 0,
        filled=_micro(given, "filled"),
        counters=_counters(given.counters or ()),
    )
    row = msgspec.structs.replace(row, fees=_paid_fees(given.fees or (), len(row.buckets)))
    if row.resume_at < row.suspend_below:
        detail = "not below suspend_below, or the account would never be at rest"
        raise Objection("invalid", "account.resume_at", detail)
    for kind in {bucket.kind for bucket in row.buckets}:
        of_kind = sum(bucket.amount for bucket in row.buckets if bucket.kind == kind)
        if of_kind + (max(row.balance, 0) if kind == Kind.MONEY else 0) > EXACT_MAX:
            raise Objection("no-room", "account.buckets", LARGEST)
    says = {name: getattr(given, name) for name in SAYS if getattr(given, name) is not None}
    return row, says


SAYS: Final = tuple(name for name in ImportAccount.__struct_fields__ if name not in ("id", "limits"))
WORDS: Final[Mapping[str, SuspendReasons]] = {
    "created": SuspendReasons.CREATED,
    "active": SuspendReasons.ACTIVE,
    "suspended": SuspendReasons.ACTIVE,
    "grace": SuspendReasons.GRACE,
    "closed": SuspendReasons.CLOSED,
}


def _state(given: ImportAccount) -> int | None:
    """None: as its balance says."""
    if (given.state == "suspended") != bool(given.suspended_for):
        raise Objection("invalid", "account.suspended_for", "with state: suspended, and only with it")
    if given.created and given.state not in (None, "created", "suspended"):
        raise Objection("invalid", "account.created", f"not beside state: {given.state}")
    if given.grace_until is None if given.state == "grace" else given.grace_until and given.state != "suspended":
        raise Objection("invalid", "account.grace_until", "with state: grace; and with suspended, where it goes on")
    if given.state is None:
        return None
    state = WORDS[given.state] | (SuspendReasons.GRACE if given.grace_until else SuspendReasons.ACTIVE)
    for reason in given.suspended_for or ():
        state |= SuspendReasons[reason.upper()]
    return int(state)


def _stored_password(given: ImportSubscriber) -> str | None:
    if given.stored_password is None:
        return None
    if given.password is not None:
        raise Objection("invalid", "subscriber.stored_password", "not beside password")
    if not is_stored(given.stored_password):
        detail = "expected what an export wrote there; a password itself is given as password"
        raise Objection("invalid", "subscriber.stored_password", detail)
    return given.stored_password


def _limits(owner: str, given: Sequence[ImportLimit] | None) -> Sequence[SpendingLimit] | None:
    if given is None:
        return None
    found: dict[str, SpendingLimit] = {}
    for at, one in enumerate(given):
        field = f"{owner}.limits[{at}]"
        if one.name in found:
            raise Objection("invalid", f"{field}.name", f"each name once, found {one.name!r}")
        try:
            limit = limit_of(one.name, one)
            period = read_period(limit.period)
        except Invalid as why:
            raise Objection("invalid", f"{field}.{why.field}", why.message) from None
        except ValueError as why:
            raise Objection("invalid", f"{field}.period", str(why)) from None
        found[one.name] = msgspec.structs.replace(limit, period=period, shared=owner == "account")
    return [found[name] for name in sorted(found)]


def _fees(given: Sequence[ImportFees], subscriber: Subscriber | None) -> list[BegunFees]:
    assigned = {(one.tariff, one.from_ms) for one in subscriber.tariffs} if subscriber is not None else set()
    found: dict[tuple[str, int], BegunFees] = {}
    for at, one in enumerate(given):
        field = f"subscriber.fees[{at}]"
        of = one.tariff, _objecting(ms_of, one.from_, f"{field}.from") or 0
        if of not in assigned or of in found:
            raise Objection("invalid", f"{field}.tariff", "one of the line's tariffs, with its from, and each once")
        fees = {fee.name: _fee(f"{field}.fees[{place}]", fee) for place, fee in enumerate(one.fees)}
        if len(fees) < len(one.fees):
            raise Objection("invalid", f"{field}.fees", "each name once")
        found[of] = BegunFees(*of, _objecting(ms_of, one.began, f"{field}.began"), fees)
    return list(found.values())


def _fee(field: str, given: ImportFee) -> BegunFee:
    day = 0 if given.settled is None else _day(f"{field}.settled", given.settled)
    return BegunFee(_objecting(ms_of, given.began, f"{field}.began"), day)


def _paid_fees(given: Sequence[ImportPaidFee], buckets: int) -> tuple[OpeningFee, ...]:
    """buckets: how many there are beside the main one"""
    found: dict[str, OpeningFee] = {}
    for at, one in enumerate(given):
        field = f"account.fees[{at}]"
        chain = fee_chain(one.subscriber, one.tariff, _objecting(ms_of, one.began, f"{field}.began"), one.name)
        if chain in found:
            raise Objection("invalid", field, "each fee once")
        from_day, day = _day(f"{field}.from", one.from_), _day(f"{field}.settled", one.settled)
        if day < from_day:
            raise Objection("invalid", f"{field}.settled", "not before from")
        if max([0, *(part.bucket for part in one.paid), *(part.bucket for part in one.units)]) > buckets:
            raise Objection("invalid", field, f"numbers of the line's buckets, at most {buckets}")
        paid = tuple((part.bucket, _objecting(micro_of, part.amount, f"{field}.paid")) for part in one.paid)
        units = tuple((part.name, part.bucket) for part in one.units)
        found[chain] = OpeningFee(chain, day, from_day, one.given, one.suspends, paid, units, one.price)
    return tuple(found[chain] for chain in sorted(found))


def _day(field: str, text: str) -> int:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        raise Objection("invalid", field, f"a day such as 2026-12-01, found {text!r}") from None


def _micro(given: ImportAccount, field: str) -> int | None:
    text = getattr(given, field)
    return None if text is None else int(_objecting(micro_of, text, f"account.{field}"))


def _buckets(at: int, given: ImportBucket) -> list[OpeningBucket]:
    """A bucket; of units with money two, the money after its units. Where it blocks, its money does."""
    field = f"account.buckets[{at}]"
    if given.money is None and given.money_filled is None:
        return [_bucket(field, given)]
    if given.money is None:
        raise Objection("invalid", f"{field}.money_filled", "only with money")
    if given.kind == "money":
        raise Objection("invalid", f"{field}.money", "beside octets, seconds or units: money alone is `amount`")
    money = {"kind": "money", "amount": given.money, "filled": given.money_filled, "money": None, "money_filled": None}
    part = _bucket(field, msgspec.structs.replace(given, price=None, per=1, **money), amount_field="money")
    units = _bucket(field, msgspec.structs.replace(given, blocker=False), may_be_empty=part.amount > 0 or given.blocker)
    return [units, msgspec.structs.replace(part, is_part=True)]


def _bucket(
    field: str, given: ImportBucket, *, amount_field: str = "amount", may_be_empty: bool = False
) -> OpeningBucket:
    kind = KIND_OF[given.kind]
    from_ms = _objecting(ms_of, given.valid_from, f"{field}.valid_from") or 0
    until_ms = _objecting(ms_of, given.valid_until, f"{field}.valid_until") or 0
    if from_ms < 0 or until_ms < 0 or (until_ms and until_ms <= from_ms):
        raise Objection("invalid", f"{field}.valid_until", "after valid_from, both after 1970")
    if given.valid_for_s and until_ms:
        raise Objection("invalid", f"{field}.valid_for_s", "not beside valid_until")
    amount = _objecting(lambda text, name: amount_of(text, kind, name), given.amount, f"{field}.{amount_field}")
    if not amount and not given.blocker and not may_be_empty:
        raise Objection("invalid", f"{field}.{amount_field}", "more than zero, but of a blocker that is used up")
    if given.price is not None and kind == Kind.MONEY:
        raise Objection("invalid", f"{field}.price", "of octets, seconds or units")
    micro = _objecting(micro_of, given.price, f"{field}.price") if given.price is not None else 0
    price, per = _objecting(lambda per, name: reduced(micro, per, name), given.per, f"{field}.per")
    return OpeningBucket(
        kind=kind,
        amount=amount,
        name=given.name,
        scope=tuple(given.scope),
        priority=BONUS_PRIORITY if given.priority is None else given.priority,
        from_ms=from_ms,
        until_ms=until_ms,
        window_ms=(given.valid_for_s or 0) * 1_000,
        bonus=given.bonus,
        member=given.member or "",
        filled=None
        if given.filled is None
        else _objecting(lambda text, name: amount_of(text, kind, name), given.filled, f"{field}.filled"),
        blocker=given.blocker,
        hours=tuple(_objecting(hours_of, given.hours, f"{field}.hours")),
        price=price,
        per=per,
    )


WINDOWS: Final = {None: CounterWindow.NONE, "renews": CounterWindow.RENEWS, "once": CounterWindow.ONCE}


def _counters(given: Sequence[ImportCounter]) -> tuple[OpeningCounter, ...]:
    found: dict[str, OpeningCounter] = {}
    for at, one in enumerate(given):
        field = f"account.counters[{at}]"
        if one.key in found:
            raise Objection("invalid", f"{field}.key", f"each key once, found {one.key!r}")
        until_ms = _objecting(ms_of, one.until, f"{field}.until") or 0
        if until_ms < 0:
            raise Objection("invalid", f"{field}.until", "after 1970")
        found[one.key] = OpeningCounter(one.key, one.used, until_ms, WINDOWS[one.window])
    return tuple(found[key] for key in sorted(found))


def _thresholds(given: Sequence[ImportThreshold]) -> tuple[Threshold, ...]:
    found: dict[str, Threshold] = {}
    for at, one in enumerate(given):
        field = f"account.thresholds[{at}]"
        if not NAME.fullmatch(one.name) or one.name in found:
            detail = f"{NAME_IN_WORDS}, each name once, found {one.name[:80]!r}"
            raise Objection("invalid", f"{field}.name", detail)
        try:
            found[one.name] = threshold_of(one.name, one)
        except Invalid as why:
            raise Objection("invalid", f"{field}.{why.field}", why.message) from None
    return tuple(found[name] for name in sorted(found))


def _services(given: Sequence[ImportServiceLine]) -> tuple[ServiceSuspension, ...]:
    found: dict[str, ServiceSuspension] = {}
    for at, one in enumerate(given):
        field = f"account.services[{at}]"
        if one.service in found:
            raise Objection("invalid", f"{field}.service", f"each service once, found {one.service!r}")
        try:
            found[one.service] = service_line_of(one.service, one)
        except Invalid as why:
            raise Objection("invalid", f"{field}.{why.field}", why.message) from None
        if found[one.service].resume_at < found[one.service].suspend_below:
            detail = "not below suspend_below, or the service would never be at rest"
            raise Objection("invalid", f"{field}.resume_at", detail)
    return tuple(found[name] for name in sorted(found))


def _subscriber(given: ImportSubscriber, account: AccountRow | None) -> tuple[Subscriber, list[str]]:
    payer = given.account or (account.id if account is not None else None)
    if payer is None:
        raise Objection("invalid", "subscriber.account", "expected an account, here or in the same line")
    identities = [_objecting(lambda text, _: identity_of(text), one, "") for one in given.identities or ()]
    tariffs = tuple(_assignment(at, one) for at, one in enumerate(given.tariffs or ()))
    subscriber = Subscriber(
        id=given.id,
        account=payer,
        identities=tuple(dict.fromkeys(identities)),
        tariffs=tariffs,
        barred=given.barred or False,
        attributes=given.attributes or {},
        payers=given.payers or {},
        tags=given.tags or {},
    )
    optional = ("identities", "tariffs", "barred", "attributes", "payers", "tags")
    return subscriber, ["account", *(name for name in optional if getattr(given, name) is not None)]


def _assignment(at: int, given: schema.AssignmentView) -> Any:
    return _objecting(lambda one, _: assignment_of(at, one), given, "")


def _objecting(read: Any, value: Any, field: str) -> Any:
    """Read a value as the API does; a refusal becomes an Objection."""
    try:
        return read(value, field)
    except Invalid as why:
        prefix = "" if field else "subscriber."
        raise Objection("invalid", prefix + why.field, why.message) from None
