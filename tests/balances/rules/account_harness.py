"""A gateway and a back office of one account, driven through the twins: what the tests of the charging rules speak.

Nothing here knows how charge.lua or the model work; every call is compared between the two by `Twins`, and `audit`
proves at the end of each test that nothing was lost (charging.md section 10).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from balances.keys import event_key
from balances.packing import fresh_account
from balances.structs.account import MAIN, Account, Bucket
from balances.structs.blob import NO_BLOB, raw_of
from balances.structs.charge import (
    Action,
    Ask,
    Charge,
    Flag,
    LineOutcome,
    NextPrice,
    Outcome,
    Phase,
    Result,
    UsageReport,
)
from balances.structs.posting import (
    AccountClosing,
    AccountSettings,
    ClosingRest,
    Expire,
    Post,
    Posting,
    PostingOutcome,
    Transfer,
)
from balances.structs.record import CounterAccount, Record, Usage
from balances.structs.session import Line, Session
from tariffs.ladder import Count, Ladder, Step, StepDues, check_ladder
from tariffs.units import Kind
from tests.balances.twins import Twins, check_account, check_entries

ACCOUNT = "acc"
START_MS = 1_800_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


def money(price: int, block: int = 1, **bounds: Any) -> Step:
    """So many micro-units for each block."""
    return Step(scope="data", block=block, price=price, **bounds)


def bundle(kind: int, block: int = 1) -> Step:
    """Paid by a unit bucket, unit for unit; a ladder does not end with it."""
    return Step(kind, "data", block, block)


def ladder(
    *steps: Step, counts: Sequence[Count] = (), tag: str = "t@1", session: tuple[int, int] = (0, 0), **due: Any
) -> Ladder:
    """session: to what its sum is rounded, and how"""
    dues = (StepDues(**due),) if any(due.values()) else ()
    placed = tuple(msgspec.structs.replace(step, dues=len(dues)) for step in steps)
    made = Ladder(placed, dues, tuple(counts), tag, sum_to=session[0], sum_rounding=session[1])
    check_ladder(made)  # of a ladder that rating cannot make the twins may think differently
    return made


FLAT = ladder(money(1))
FREE = ladder(money(0))


def ask(
    rating_group: int = 10,
    asked: int = 0,
    *,
    used: int | Sequence[int] | None = None,
    by: Ladder | None = FLAT,
    unit: Kind = Kind.OCTETS,
    at_ms: int = 0,
    **others: Any,
) -> Ask:
    """One line of a request: units wanted (-1 none, 0 the default of 100) and units used."""
    reports = []
    for amount in [used] if isinstance(used, int) else used or []:
        amounts = [-1, -1, -1, -1]
        amounts[unit] = amount
        reports.append(UsageReport(amounts[0], amounts[1], amounts[2], amounts[3], at_ms))
    fields: dict[str, Any] = {
        "service_id": -1,
        "default": 100,
        "minimum": 1,
        "maximum": 1_000_000,
        "priority": 0,
        "validity_ms": 10 * MINUTE,
        "refusal": Result.OK if by else Result.RATING_FAILED,
    } | others
    packed = raw_of(msgspec.msgpack.encode(by)) if by else NO_BLOB
    return Ask(rating_group=rating_group, unit=unit, reports=reports, asked=asked, ladder=packed, **fields)


def use(amount: int | Sequence[int], rating_group: int = 10, **others: Any) -> Ask:
    """A report without a wish for more."""
    return ask(rating_group, -1, used=amount, **others)


class Counterparts:
    """Everyone who talks to the account "acc"."""

    def __init__(self, url: str, **account: int) -> None:
        self.twins = Twins(url)
        self.now_ms = START_MS
        self.sent: list[Charge] = []
        self.status = ""
        """How the last call ended."""
        self._numbers: dict[str, int] = {}
        self._posts = 0
        assert self.twins.open(fresh_account(ACCOUNT, "EUR", **account)) == "ok"

    # --- the gateway --------------------------------------------------------------------------------------------

    def request(self, phase: Phase, asks: Iterable[Ask], session: str = "gw;1", **others: Any) -> Outcome:
        number = others.pop("number", None)
        if number is None:
            number = self._numbers.get(session, -1) + 1
        self._numbers[session] = max(number, self._numbers.get(session, -1))
        charge = charge_of(phase, asks, session=session, number=number, end_to_end=len(self.sent) + 1_000)
        return self.send(timed(charge, self.now_ms, others))

    def send(self, charge: Charge) -> Outcome:
        self.sent.append(charge)
        self.status, outcome = self.twins.charge(charge)
        if self.status == "longer":  # a worker rates what was used before this request, and sends it again
            asks = [msgspec.structs.replace(one, later=[NextPrice(0, one.ladder)]) for one in charge.asks]
            self.status, outcome = self.twins.charge(msgspec.structs.replace(charge, asks=asks))
        assert outcome is not None, self.status
        return outcome

    def start(self, *asks: Ask, **others: Any) -> Outcome:
        return self.request(Phase.START, asks or [ask()], **others)

    def update(self, *asks: Ask, **others: Any) -> Outcome:
        return self.request(Phase.UPDATE, asks, **others)

    def stop(self, *asks: Ask, **others: Any) -> Outcome:
        return self.request(Phase.STOP, asks, **others)

    def event(self, *asks: Ask, action: Action = Action.DEBIT, session: str = "sms;1", **others: Any) -> Outcome:
        return self.request(Phase.EVENT, asks, session=session, action=action, **others)

    def repeat(self, charge: Charge | None = None, **changes: Any) -> Outcome:
        """A request once more (the last one), with the clock of now."""
        return self.send(msgspec.structs.replace(charge or self.sent[-1], **({"now_ms": self.now_ms} | changes)))

    # --- the back office and time -------------------------------------------------------------------------------

    def post(self, *postings: Posting, key: str | None = None, **others: Any) -> PostingOutcome | None:
        self._posts += 1
        fields: dict[str, Any] = {"remember_ms": HOUR, "actor": "me", "reason": "", "reference": ""} | others
        body = hashlib.blake2b(repr(postings).encode(), digest_size=4).hexdigest()
        key = f"k{self._posts}" if key is None else key
        self.status, posted = self.twins.post(Post(ACCOUNT, key, body, self.now_ms, postings=list(postings), **fields))
        return posted

    def topup(self, amount: int, **others: Any) -> PostingOutcome | None:
        return self.post(Posting(MAIN, Kind.MONEY, amount, CounterAccount.TOP_UP, "top-up"), **others)

    def grant_bucket(self, kind: Kind, amount: int, **others: Any) -> int:
        """A new bucket, which pays before the main one; its id."""
        posted = self.post(Posting(-1, kind, amount, CounterAccount.TOP_UP, "bundle", **({"priority": 10} | others)))
        assert posted is not None
        assert self.status == "ok"
        return posted.entries[-1].bucket

    def transfer(
        self, source: int, target: int, amount: int, *, key: str | None = None, tags: str = ""
    ) -> PostingOutcome | None:
        self._posts += 1
        key = f"k{self._posts}" if key is None else key
        once = (key, f"{source} {target} {amount}", self.now_ms, HOUR, "me", "", "")
        self.status, posted = self.twins.transfer(Transfer(ACCOUNT, *once, source, target, amount, tags))
        return posted

    def close(
        self,
        rest: ClosingRest = ClosingRest.REFUSED,
        *,
        key: str | None = None,
        moves_max: Sequence[int] = (),
        tags: str = "",
    ) -> PostingOutcome | None:
        self._posts += 1
        key = f"k{self._posts}" if key is None else key
        once = (key, f"{int(rest)}", self.now_ms, HOUR, "me", "", "")
        wanted = AccountClosing(ACCOUNT, *once, rest, list(moves_max), tags=tags)
        self.status, posted = self.twins.close_account(wanted)
        return posted

    def settings(self, if_rev: int | None = None, **changes: Any) -> str:
        self.status = self.twins.settings(AccountSettings(ACCOUNT, self.now_ms, if_rev, **changes))
        return self.status

    def expire(self, session: str = "gw;1") -> str:
        self.status = self.twins.expire(Expire(ACCOUNT, session, self.now_ms))
        return self.status

    def wait(self, ms: int) -> None:
        self.now_ms += ms

    # --- what there is now --------------------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        account = self.twins.account(ACCOUNT)
        assert account is not None
        return account

    def bucket(self, of: int = MAIN) -> Bucket:
        return next(bucket for bucket in self.account.buckets if bucket.id == of)

    def has_bucket(self, of: int) -> bool:
        return any(bucket.id == of for bucket in self.account.buckets)

    @property
    def money(self) -> tuple[int, int]:
        """Amount and held of the main bucket."""
        return self.bucket().amount, self.bucket().held

    def counter(self, key: str) -> tuple[int, int]:
        return next(((c.used, c.held) for c in self.account.counters if c.key == key), (0, 0))

    def session(self, session: str = "gw;1") -> Session:
        return self.twins.sessions(ACCOUNT)[session]

    def line(self, rating_group: int = 10, session: str = "gw;1") -> Line:
        [line] = [line for line in self.session(session).lines if line.rating_group == rating_group]
        return line

    @property
    def records(self) -> list[Record]:
        return [appended.record for appended in self.twins.model.ledger]

    @property
    def usage(self) -> Usage:
        """The only usage of the last record."""
        [usage] = self.records[-1].usages
        return usage

    def flagged(self, flag: Flag) -> bool:
        return any(usage.flags & flag for usage in self.records[-1].usages)

    def audit(self) -> None:
        """Nothing lost, nothing twice: entries chain up to the balances, costs are what the entries say."""
        check_entries(self.twins.model, ACCOUNT)
        check_account(self.account, list(self.twins.sessions(ACCOUNT).values()))
        for record in self.records:
            paid = [-entry.amount for entry in record.entries if entry.line >= 0 and entry.kind == Kind.MONEY]
            assert sum(usage.cost for usage in record.usages) == sum(paid), record
            assert all(entry.counter_account for entry in record.entries), record


def charge_of(
    phase: Phase, asks: Iterable[Ask], *, session: str, number: int, end_to_end: int, account: str = ACCOUNT
) -> Charge:
    """A request as `to_charge` makes it of an ordinary client's."""
    charge = Charge(
        account=account,
        subscriber="sub",
        session=session,
        service="data",
        phase=phase,
        number=number,
        key=f"{int(phase)}:{number}",
        countable=True,
        fingerprint="",
        end_to_end=end_to_end,
        resend=False,
        now_ms=START_MS,
        event_ms=START_MS,
        profile_rev=0,
        asks=list(asks),
        peer="gw",
        realm="r",
        via="dra",
        once_key=event_key(session, number) if phase == Phase.EVENT else "",
    )
    charge.fingerprint = fingerprint(charge)
    return charge


def timed(charge: Charge, now_ms: int, changes: dict[str, Any]) -> Charge:
    """The request at an instant, and otherwise changed; its reports are of that instant unless they say another."""
    for one in charge.asks:
        one.reports = [msgspec.structs.replace(r, at_ms=r.at_ms or now_ms) for r in one.reports]
    charge = msgspec.structs.replace(charge, **({"now_ms": now_ms, "event_ms": now_ms} | changes))
    charge.fingerprint = str(changes.get("fingerprint") or fingerprint(charge))
    return charge


def fingerprint(charge: Charge) -> str:
    """Of the money content only (charging.md section 3)."""
    lines = [
        (one.rating_group, one.service_id, one.unit, one.asked, [msgspec.structs.astuple(r)[:4] for r in one.reports])
        for one in charge.asks
    ]
    return hashlib.blake2b(repr((charge.action, charge.refund_of, lines)).encode(), digest_size=4).hexdigest()


def only(outcome: Outcome) -> LineOutcome:
    [line] = outcome.lines
    return line


def grants(outcome: Outcome) -> list[int]:
    return [line.granted for line in outcome.lines]
