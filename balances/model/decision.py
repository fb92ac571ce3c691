"""One charge being decided: what its outcome, its usage records and its record are made of. Twin of
lua/lib/decision.lua."""

from __future__ import annotations

from typing import Any

from balances.model.account import AccountChange
from balances.model.spans import PriceSpan
from balances.model.thresholds import is_suspended, resumes_at
from balances.packing import pack, unpack_ladder
from balances.structs.account import REFUSING
from balances.structs.blob import blob_of, raw_of
from balances.structs.charge import Ask, Charge, Flag, LineOutcome, Outcome, Reply, Result, Suspense
from balances.structs.record import Record, Usage
from balances.structs.session import Line
from tariffs.ladder import Ladder


def asked_ladder(ask: Ask) -> Ladder | None:
    packed = blob_of(ask.ladder)
    return unpack_ladder(packed) if packed else None


def asked_price(ask: Ask) -> PriceSpan:
    return PriceSpan(blob_of(ask.ladder), ask.until_ms, ask.later)


def fresh_line(ask: Ask, now_ms: int) -> Line:
    return Line(ask.rating_group, ask.service_id, ask.unit, hold=[], touched_ms=now_ms, secondary=ask.secondary)


def wanted(ask: Ask, *, event: bool = False) -> int:
    if event and ask.asked < 0:  # an amount of zero was named
        return 0
    want = ask.asked if ask.asked > 0 else ask.default
    if not event:
        want = max(want, ask.minimum)
    return min(want, ask.maximum) if ask.maximum else want


def line_outcome(
    ask: Ask, unit: int, why: int, flags: int, *, granted: int = 0, cost: int = 0, debited: int = 0
) -> LineOutcome:
    return LineOutcome(
        ask.rating_group, ask.service_id, unit, why, granted, 0, 0, False, cost, debited, flags, "", ask.secondary
    )


def has_use(ask: Ask) -> bool:
    amounts = (max(report.money, report.octets, report.seconds, report.units) for report in ask.reports)
    return ask.set_aside != Suspense.NONE or any(amount > 0 for amount in amounts)


def longer_reply(missing_ms: int) -> Reply:
    """Nothing was written: use by time has no price from there on, it is rated and the request comes again."""
    return Reply("longer", b"%d" % missing_ms)


class ChargeDecision:
    """What is known of a charge so far."""

    def __init__(self, charge: Charge, change: AccountChange, context: bytes) -> None:
        self.charge = charge
        self.change = change
        change.subscriber = charge.subscriber
        self.context = context
        self.asks = charge.asks
        self.flags = charge.flags
        self.outcomes: list[LineOutcome] = []
        self.result: int = Result.OK
        self.moved = False
        self.cost = self.debited = self.balance = 0
        self.enough = True
        self.incarnation = 0
        self.conflict: bytes | None = None
        """The answer that a repeat contradicts: it is put on record, and nothing else moves."""

    def refusal_of(self, ask: Ask) -> int:
        """Why an asking line gets nothing before money is looked at; OK when it may ask."""
        state = self.change.account.state
        if ask.refusal != Result.OK:
            return ask.refusal
        if ask.emergency:
            return Result.OK
        if state & REFUSING:
            return Result.DENIED
        if is_suspended(self.change.account, self.charge.service) and not ask.free:
            return Result.CREDIT_LIMIT
        return Result.OK

    def note_usage(self, ask: Ask, unit: int, packed: bytes = b"", **fields: Any) -> Usage:
        """packed: the ladder that priced it"""
        known: dict[str, Any] = dict.fromkeys(("used", "suspense", "total", "cost", "granted"), 0)
        known |= {"result": Result.OK, "flags": self.flags, "tag": "", "at_ms": self.charge.event_ms, "counters": []}
        known["set_aside"] = Suspense.TOO_LARGE if fields.get("suspense") else Suspense.NONE
        if packed:
            ladder = unpack_ladder(packed)
            known |= {"tag": ladder.tag, "terms": ladder.terms, "ladder": raw_of(packed)}
        usage = Usage(ask.rating_group, ask.service_id, unit, secondary=ask.secondary, **(known | fields))
        usage.priced, self.change.priced = self.change.priced, 0
        self.change.usages.append(usage)
        return usage

    def command_result(self) -> int:
        """A command is refused when all its lines are."""
        if any(line.result in (Result.OK, Result.NOT_APPLICABLE, Result.NO_GRANT) for line in self.outcomes):
            return Result.OK
        return self.outcomes[0].result if self.outcomes else Result.OK

    def pack_outcome(self) -> bytes:
        low = self.balance < resumes_at(self.change.account, self.charge.service)
        return pack(Outcome(self.result, self.outcomes, self.cost, self.debited, self.balance, self.enough, low))

    def charge_record(self, once_key: str = "", once_until_ms: int = 0) -> Record:
        charge = self.charge
        return self.change.change_record(
            "charge",
            subscriber=charge.subscriber,
            session=charge.session,
            service=charge.service,
            phase=charge.phase,
            event_ms=charge.event_ms,
            key=charge.key,
            fingerprint=charge.fingerprint,
            end_to_end=charge.end_to_end,
            once_key=once_key,
            once_until_ms=once_until_ms,
            refund_of=charge.refund_of,
            incarnation=self.incarnation,
            actor=charge.actor,
            reason=charge.reason,
            reference=charge.reference,
        )

    def answer_conflict(self, outcome: bytes) -> None:
        """A conflicting repeat is answered as before and put on record; nothing else moves."""
        for ask in self.asks:
            self.note_usage(ask, ask.unit, flags=Flag.CONFLICT, at_ms=self.change.now_ms)
        self.conflict = outcome
