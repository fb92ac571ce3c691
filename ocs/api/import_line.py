"""Reads one line of an import from its JSON or its cells: the wanted rows, or an Objection that names the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from balances.structs.account import NEVER
from balances.structs.thresholds import ServiceSuspension, Threshold
from ocs.api import schema
from ocs.api.members import Twice, each_once
from ocs.api.operation import field_and_fault
from ocs.api.routes_subscribers import assignment_of
from ocs.api.schema_import import (
    ImportAccount,
    ImportBucket,
    ImportLine,
    ImportServiceLine,
    ImportSubscriber,
    ImportThreshold,
)
from ocs.api.texts import ms_of
from ocs.api.threshold_views import service_line_of, threshold_of
from ocs.backoffice.accounts import is_zone
from ocs.backoffice.amounts import KIND_OF, amount_of, micro_of
from ocs.backoffice.errors import Invalid
from ocs.backoffice.postings import BONUS_PRIORITY
from ocs.backoffice.subscribers import identity_of
from ocs.charging.currencies import NUMBERS
from ocs.master.accounts import AccountRow, OpeningBucket
from ocs.master.bulk_rows import Objection, WantedLine
from ocs.master.subscribers import Subscriber
from tariffs.thresholds import NAME, NAME_IN_WORDS
from tariffs.units import EXACT_MAX, Kind

_decode: Final = msgspec.json.Decoder(ImportLine).decode
LARGEST: Final = "money or units of one kind together: less than 2^53"


def from_json(text: bytes, actor: str) -> WantedLine:
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


def from_members(members: dict[str, Any], actor: str) -> WantedLine:
    """The same of the members of the JSON object that a line of CSV stands for."""
    try:
        line = msgspec.convert(members, ImportLine)
    except msgspec.ValidationError as why:
        raise _invalid(why) from None
    return _wanted(line, actor)


def _invalid(why: msgspec.ValidationError) -> Objection:
    return Objection("invalid", *field_and_fault(why))


def _wanted(line: ImportLine, actor: str) -> WantedLine:
    if line.account is None and line.subscriber is None:
        raise Objection("invalid", "", "expected an account, a subscriber, or both")
    account, account_says = (None, {}) if line.account is None else _account(line.account, actor)
    subscriber, subscriber_says = (None, []) if line.subscriber is None else _subscriber(line.subscriber, account)
    password = line.subscriber.password if line.subscriber is not None else None
    return WantedLine(account, account_says, subscriber, subscriber_says, password)


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
        buckets=tuple(_bucket(at, bucket) for at, bucket in enumerate(given.buckets or ())),
        opened_by=actor,
        thresholds=_thresholds(given.thresholds or ()),
        services=_services(given.services or ()),
        created=given.created or False,
        customer=given.customer or "",
        tags=tuple(sorted({*(given.tags or ())})),
    )
    if row.resume_at < row.suspend_below:
        detail = "not below suspend_below, or the account would never be at rest"
        raise Objection("invalid", "account.resume_at", detail)
    for kind in {bucket.kind for bucket in row.buckets}:
        of_kind = sum(bucket.amount for bucket in row.buckets if bucket.kind == kind)
        if of_kind + (row.balance if kind == Kind.MONEY else 0) > EXACT_MAX:
            raise Objection("no-room", "account.buckets", LARGEST)
    says = {name: getattr(given, name) for name in SAYS if getattr(given, name) is not None}
    return row, says


SAYS: Final = tuple(name for name in ImportAccount.__struct_fields__ if name != "id")


def _micro(given: ImportAccount, field: str) -> int | None:
    text = getattr(given, field)
    return None if text is None else int(_objecting(micro_of, text, f"account.{field}"))


def _bucket(at: int, given: ImportBucket) -> OpeningBucket:
    field = f"account.buckets[{at}]"
    kind = KIND_OF[given.kind]
    from_ms = _objecting(ms_of, given.valid_from, f"{field}.valid_from") or 0
    until_ms = _objecting(ms_of, given.valid_until, f"{field}.valid_until") or 0
    if from_ms < 0 or until_ms < 0 or (until_ms and until_ms <= from_ms):
        raise Objection("invalid", f"{field}.valid_until", "after valid_from, both after 1970")
    if given.valid_for_s and until_ms:
        raise Objection("invalid", f"{field}.valid_for_s", "not beside valid_until")
    return OpeningBucket(
        kind=kind,
        amount=_objecting(lambda text, name: amount_of(text, kind, name), given.amount, f"{field}.amount"),
        name=given.name,
        scope=tuple(given.scope),
        priority=BONUS_PRIORITY if given.priority is None else given.priority,
        from_ms=from_ms,
        until_ms=until_ms,
        window_ms=(given.valid_for_s or 0) * 1_000,
        bonus=given.bonus,
        member=given.member or "",
    )


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
    )
    optional = ("identities", "tariffs", "barred", "attributes", "payers")
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
