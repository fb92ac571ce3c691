"""Converts structures of the stores to the types of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from balances import keys
from balances.ledger.events import reasons_of, word_of
from balances.packing import unpack_ladder
from balances.structs.account import MAIN, NEVER, Account, Bucket
from balances.structs.blob import blob_of
from balances.structs.charge import Suspense
from balances.structs.posting import PostingOutcome
from balances.structs.session import Line, Session, SessionState
from ocs.api import schema, schema_suspense
from ocs.api.texts import hours_in_words, time_of, time_or_none
from ocs.api.threshold_views import service_line_view, threshold_views
from ocs.backoffice.accounts import settled
from ocs.backoffice.amounts import KINDS, money, quantity
from ocs.backoffice.buckets import money_of
from ocs.backoffice.search import FoundAccount
from ocs.master.accounts import AccountRow
from ocs.master.subscribers import Subscriber
from tariffs.units import EXACT_MAX, Kind

STATES: dict[int, Literal["open", "closed", "refused", "abandoned", "unknown"]] = {
    SessionState.OPEN: "open",
    SessionState.CLOSED: "closed",
    SessionState.REFUSED: "refused",
    SessionState.ABANDONED: "abandoned",
    SessionState.UNKNOWN: "unknown",
}


def threshold(micro: int) -> str | None:
    return None if micro == NEVER else money(micro)


def account_ref(found: FoundAccount) -> schema.AccountRef:
    row, standing = found
    return schema.AccountRef(
        id=row.id,
        currency=row.currency,
        time_zone=row.time_zone,
        created=time_of(row.created_ms),
        customer=row.customer,
        tags=[*row.tags],
        state=None if standing is None else word_of(standing.state),
        suspended_for=[] if standing is None else reasons_of(standing.state),
        free=None if standing is None else money(standing.free),
    )


def account_view(row: AccountRow, account: Account, now_ms: int) -> schema.AccountView:
    own = settled(account, now_ms)
    anywhere = [bucket for bucket in own if not (bucket.scope or bucket.member or bucket.hours)]
    last = min((bucket.priority for bucket in anywhere if bucket.blocker), default=EXACT_MAX)  # nothing behind it pays
    paying = [bucket for bucket in anywhere if bucket.priority <= last]
    available = sum(bucket.amount - bucket.held for bucket in paying)
    if any(bucket.id == MAIN for bucket in paying):
        available += account.credit_limit
    return schema.AccountView(
        id=account.id,
        currency=account.currency,
        time_zone=row.time_zone or None,
        billing_day=row.billing_day,
        state=word_of(account.state),
        suspended_for=reasons_of(account.state),
        grace_until=time_or_none(account.grace_until_ms),
        customer=row.customer,
        tags=[*row.tags],
        activated=time_or_none(account.activated_ms),
        balance=money(sum(bucket.amount for bucket in own)),
        held=money(sum(bucket.held for bucket in account.buckets if bucket.kind == Kind.MONEY)),
        available=money(available),
        credit_limit=money(account.credit_limit),
        suspend_below=threshold(account.suspend_below),
        resume_at=threshold(account.resume_at),
        buckets=bucket_views(account),
        counters=[
            schema.CounterView(
                key=counter.key, used=counter.used, held=counter.held, until=time_or_none(counter.until_ms)
            )
            for counter in account.counters
        ],
        thresholds=threshold_views(account, now_ms),
        services=[service_line_view(line) for line in account.services],
        seq=account.seq,
        rev=account.rev,
        created=time_or_none(row.created_ms),
    )


def bucket_views(account: Account) -> list[schema.BucketView]:
    """In the order in which they pay; money of units stands with its units."""
    there = {bucket.id for bucket in account.buckets} - {MAIN}
    return [bucket_view(account, bucket) for bucket in account.buckets if bucket.part_of not in there]


def bucket_view(account: Account, bucket: Bucket) -> schema.BucketView:
    part = money_of(account, bucket.id)
    return schema.BucketView(
        id=bucket.id,
        kind=KINDS[bucket.kind],
        amount=quantity(bucket.kind, bucket.amount),
        held=quantity(bucket.kind, bucket.held),
        priority=bucket.priority,
        valid_from=time_or_none(bucket.from_ms),
        valid_until=time_or_none(bucket.until_ms),
        valid_for_s=bucket.window_ms // 1_000 or None,
        scope=bucket.scope,
        name=bucket.name,
        main=bucket.id == MAIN,
        bonus=bucket.bonus,
        member=bucket.member or None,
        blocker=bucket.blocker or (part is not None and part.blocker),
        hours=hours_in_words(bucket.hours),
        money=None
        if part is None
        else schema.BucketMoney(id=part.id, amount=money(part.amount), held=money(part.held)),
        price=money(bucket.price) if bucket.price else None,
        per=bucket.per,
    )


def posted_view(account: str, key: str, posted: PostingOutcome) -> schema.PostingView:
    return schema.PostingView(
        account=account,
        key=key,
        entries=[
            schema.PostedEntry(
                seq=entry.seq,
                bucket=entry.bucket,
                kind=KINDS[entry.kind],
                amount=quantity(entry.kind, entry.amount),
                balance_after=quantity(entry.kind, entry.after),
                counter_account=entry.counter_account,
                why=entry.why,
            )
            for entry in posted.entries
        ],
        balance=money(posted.balance),
        state=word_of(posted.state),
    )


def subscriber_view(subscriber: Subscriber) -> schema.SubscriberView:
    return schema.SubscriberView(
        id=subscriber.id,
        account=subscriber.account,
        identities=list(subscriber.identities),
        tariffs=[
            schema.AssignmentView(
                tariff=assignment.tariff,
                from_=time_or_none(assignment.from_ms),
                until=time_or_none(assignment.until_ms),
            )
            for assignment in subscriber.tariffs
        ],
        barred=subscriber.barred,
        attributes=subscriber.attributes,
        payers=subscriber.payers,
        tags=subscriber.tags,
        version=subscriber.version,
        created=time_of(subscriber.created_ms),
    )


def suspense_view(row: Mapping[str, Any]) -> schema_suspense.SuspenseItem:
    decided = None
    if row["state"] != "open":
        charged = None if row["charge"] is None else money(row["charge"])
        decided = schema_suspense.SuspenseSettled(
            row["payer"], charged, row["seq"], row["decided_by"], row["reason"], time_of(row["decided_ms"])
        )
    return schema_suspense.SuspenseItem(
        id=row["id"],
        account=row["account"],
        subscriber=row["subscriber"],
        session=row["session"],
        request=row["request_key"],
        service=row["service"],
        rating_group=None if row["rating_group"] < 0 else row["rating_group"],
        service_identifier=None if row["service_id"] < 0 else row["service_id"],
        unit=KINDS[row["unit"]],
        amount=quantity(row["unit"], int(row["amount"])),
        currency=row["currency"] if row["unit"] == Kind.MONEY and row["currency"] != "XXX" else None,
        reason=Suspense(row["set_aside"]).word,
        reports=row["reports"],
        time=time_of(row["at_ms"]),
        last=time_of(row["last_ms"]),
        state=row["state"],
        settled=decided,
    )


def session_view(
    account: Account, session: Session, suspense: Sequence[Mapping[str, Any]] | None = None
) -> schema.SessionView:
    money_buckets = {bucket.id for bucket in account.buckets if bucket.kind == Kind.MONEY}
    name = keys.session_name(session.id)
    return schema.SessionView(
        id=session.id,
        session_id=name.session_id,
        sub_session_id=name.sub_session,
        incarnation=session.incarnation,
        account=account.id,
        subscriber=session.subscriber,
        service=session.service,
        state=STATES[session.state],
        peer=session.peer,
        realm=session.realm,
        via=session.via,
        opened=time_of(session.opened_ms),
        touched=time_of(session.touched_ms),
        lines=[_line(line, money_buckets) for line in session.lines],
        suspense=None if suspense is None else [suspense_view(row) for row in suspense],
    )


def _line(line: Line, money_buckets: set[int]) -> schema.SessionLine:
    return schema.SessionLine(
        rating_group=None if line.rating_group < 0 else line.rating_group,
        service_identifier=None if line.service_id < 0 else line.service_id,
        unit=KINDS[line.unit],
        used=line.total,
        granted=line.granted,
        debited=money(line.debited),
        held=money(sum(take.amount for take in line.hold if take.bucket in money_buckets)),
        hold_expires=time_or_none(line.due_ms),
        final=line.final,
        tariff=_tag(line.ladder),
    )


def _tag(ladder: msgspec.Raw) -> str:
    packed = blob_of(ladder)
    return unpack_ladder(packed).tag if packed else ""
