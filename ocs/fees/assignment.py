"""An assignment of a tariff with recurring fees, as it is when somebody looks at it: what of it is due, one call after
the other. Whoever looks says what a call comes to: the live store, or a dry run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, Final, NamedTuple

import msgspec

from balances.keys import FeeKey, fee_chain
from balances.structs.account import FeeMark, WeekHours
from balances.structs.charge import Result
from balances.structs.posting import Fee, FeeFunds, FeeStep, FeeUnits
from tariffs.bucket_price import exchanged
from tariffs.build_ladder import sooner
from tariffs.calendar import zone
from tariffs.catalog import Assignment, Catalog
from tariffs.fee_course import FeeCourse, PlannedPeriod, charged_part, end_cut, next_period
from tariffs.fee_periods import EVER, FeeCalendar, day_of, day_text, midnight_ms
from tariffs.fee_price import FeePrice, applies, fee_price
from tariffs.fees import FEE, FeeRule
from tariffs.inputs import Inputs
from tariffs.tariff import Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import EXACT_MAX, MICRO, Kind
from tariffs.week_hours import clock_of

ACTOR: Final = "fees"
PERIODS_MAX: Final = 32
"""Of one fee in one look; what is left is looked at at once again."""
UNPRICED_MS: Final = 3_600_000
"""When a fee is tried again that has no price now: a rate, or an attribute, is missing."""
FUNDS: Final = {"own": FeeFunds.OWN, "credit": FeeFunds.CREDIT, "debt": FeeFunds.DEBT}


class FeeProgress(msgspec.Struct, omit_defaults=True):
    """How far one fee is, as the store said last."""

    start_ms: int
    """When it began: with the assignment, or with the version that brought it."""
    day: int = 0
    """First day that is not settled; 0: none is."""
    from_day: int = 0
    """First day of the period that `paid` is of."""
    paid: int = 0
    """Micro-units."""
    short: bool = False
    """That period begins with `day`, and is not paid in full."""
    try_ms: int = 0
    """When it is tried again; 0: when it is due."""
    ended: bool = False
    known_day: int = 0
    """`day` as the account said it last. One that says less later has lost the rest."""
    price: str = ""
    """What the whole period of `from_day` cost when it was tried last, and its terms (`_written`); "": nobody noted
    it."""


Progress = dict[str, FeeProgress]
read_progress: Final = msgspec.json.Decoder(Progress).decode
write_progress: Final = msgspec.json.Encoder().encode


class FeeAssignment(NamedTuple):
    id: int
    account: str
    subscriber: str
    tariff: str
    began_ms: int
    ended_ms: int
    begins_by_change: bool
    ends_by_change: bool
    published_ms: int
    """0: no version came since it was looked at."""
    progress: Progress
    currency: str
    time_zone: str
    billing_day: int
    attributes: Mapping[str, str]
    assignments: Sequence[Assignment]
    """All of the subscriber: promotions among them change fees."""
    waiting: bool = False
    due_ms: int = 0
    hurry: bool = False
    """It waited for money, and got some."""
    tags: str = ""
    """Charging tags of the subscriber, as JSON."""


class TriedFee(NamedTuple):
    """What a call came to."""

    mark: FeeMark
    result: int


class FeeProblem(Exception):
    """The store did not take a call, for now; the text says why."""


Take = Callable[[Fee, FeeProgress], Awaitable[TriedFee]]
"""How far the fee is, before the call, comes with it."""


class FeeLook(NamedTuple):
    """What came of looking at an assignment."""

    due_ms: int | None
    """When it is looked at next; None: nothing more comes."""
    waiting: bool
    why: str
    taken: int
    short: int


class FeeLooker:
    """catalog: of all published tariffs; now_ms: by which things are due"""

    def __init__(self, catalog: Catalog, of: FeeAssignment, now_ms: int, take: Take, *, hurry: bool = False) -> None:
        """hurry: what is short is tried again at once: money came in"""
        self._catalog, self._of, self._now_ms, self._take, self._hurry = catalog, of, now_ms, take, hurry
        began_day = day_of(zone(of.time_zone), of.began_ms)
        self.course = FeeCourse(
            FeeCalendar(zone(of.time_zone), of.billing_day, began_day),
            of.ended_ms,
            of.begins_by_change,
            of.ends_by_change,
        )
        self._inputs = Inputs(
            FEE,
            attributes=dict(of.attributes),
            time_zone=of.time_zone,
            subscriber=of.subscriber,
            subscriber_tags=of.tags,
        )
        self.price = FeePrice(0, "", ())
        """Of the last call."""
        self._due_ms, self._waiting, self._why, self._taken, self._short = 0, False, "", 0, 0

    async def look(self) -> FeeLook:
        """Settle what is due, fee by fee; `progress` of the assignment is moved on with each answer."""
        of = self._of
        tariff, another_ms = self._catalog.in_force(of.tariff, max(self._now_ms, of.began_ms))
        if tariff is not None and (not of.ended_ms or of.ended_ms > of.began_ms):
            start_ms = max(of.began_ms, of.published_ms, tariff.from_ms)
            for rule in tariff.parts.fees:
                if rule.name not in of.progress:
                    of.progress[rule.name] = FeeProgress(start_ms)
        for name, progress in of.progress.items():
            if not progress.ended:
                await self._settle(name, progress)
        if 0 < of.ended_ms <= self._now_ms and all(progress.ended for progress in of.progress.values()):
            return self._looked(None)
        due_ms = sooner(self._due_ms, another_ms)
        return self._looked(sooner(due_ms, of.ended_ms if of.ended_ms > self._now_ms else 0) or None)

    def _looked(self, due_ms: int | None) -> FeeLook:
        return FeeLook(due_ms, self._waiting, self._why, self._taken, self._short)

    def _later(self, at_ms: int) -> None:
        self._due_ms = sooner(self._due_ms, at_ms)

    async def _settle(self, name: str, progress: FeeProgress) -> None:
        """The periods of one fee, in order, as far as they are due and can be taken; then its end."""
        for _ in range(PERIODS_MAX):
            rule, tariff = self._rule(name, progress)
            planned = next_period(rule, self.course, progress.start_ms, progress.day) if rule is not None else None
            if rule is None and self._skips_to_next_version(progress):
                continue
            if rule is None or planned is None:
                await self._end(name, progress)
                return
            if planned.due_ms > self._now_ms:
                self._later(planned.due_ms)
                return
            if progress.try_ms > self._now_ms and not self._hurry and planned.over_ms > self._now_ms:
                self._waiting = self._waiting or progress.short
                self._later(min(progress.try_ms, planned.over_ms))
                return
            assert tariff is not None
            if not await self._try(rule, tariff, planned, progress):
                return
        self._later(self._now_ms)

    def _rule(self, name: str, progress: FeeProgress) -> tuple[FeeRule | None, Tariff | None]:
        """By the version that counts when the next period begins."""
        of, calendar = self._of, self.course.calendar
        from_ms = progress.start_ms
        if progress.day:
            from_ms = max(from_ms, midnight_ms(calendar.zone, min(progress.day, EVER - 1)))
        tariff, _ = self._catalog.in_force(of.tariff, from_ms)
        if tariff is None:
            return None, None
        rule = next((one for one in tariff.parts.fees if one.name == name), None)
        return rule, self._promoted(tariff, from_ms)

    def _skips_to_next_version(self, progress: FeeProgress) -> bool:
        """Where the version that counts has no such fee: nothing is charged until the next one begins."""
        zone_ = self.course.calendar.zone
        from_ms = max(progress.start_ms, midnight_ms(zone_, progress.day) if progress.day else 0)
        _, another_ms = self._catalog.in_force(self._of.tariff, from_ms)
        if not 0 < another_ms <= self._now_ms or 0 < self._of.ended_ms <= another_ms:
            return False
        progress.day = max(day_of(zone_, another_ms), progress.day + 1)
        return True

    def _promoted(self, tariff: Tariff, at_ms: int) -> Tariff:
        """As promotions of the subscriber change it then."""
        found = []
        for one in self._of.assignments:
            if one.tariff == tariff.name or one.from_ms > at_ms or 0 < one.until_ms <= at_ms:
                continue
            promotion, _ = self._catalog.in_force(one.tariff, at_ms)
            if promotion is not None and promotion.parts.promotion and promotion not in found:
                found.append(promotion)
        return self._catalog.changed(tariff, tuple(found)) if found else tariff

    def _exchange(self, tariff: Tariff, at_ms: int) -> CurrencyExchange | None:
        """Into the account's currency; ValueError where there is no rate."""
        of = self._of
        if tariff.currency == of.currency:
            return None
        exchange = self._catalog.exchanges.at(tariff.currency, of.currency, at_ms)
        if exchange is None:
            raise ValueError(f"there is no exchange rate from {tariff.currency} into {of.currency}")
        return exchange

    def _price(self, rule: FeeRule, tariff: Tariff, at_ms: int, part: Fraction) -> FeePrice:
        """ValueError where it has none."""
        return fee_price(rule, tariff, self._inputs, at_ms, part, self._exchange(tariff, at_ms))

    async def _try(self, rule: FeeRule, tariff: Tariff, planned: PlannedPeriod, progress: FeeProgress) -> bool:
        """Take a period; whether the next one may follow."""
        zone_, now_ms = self.course.calendar.zone, self._now_ms
        from_ms = max(midnight_ms(zone_, planned.from_day), progress.start_ms)
        pays = applies(rule, tariff, self._inputs)
        try:
            price = self._price(rule, tariff, from_ms, planned.part) if pays else FeePrice(0, "", ())
            units = self._units(rule, planned, self._exchange(tariff, from_ms)) if pays else []
        except ValueError as why:
            self._why = f"{rule.name}: {why}"
            self._later(now_ms + UNPRICED_MS)
            return False
        grace_ms = planned.due_ms + rule.grace_ms if rule.written.grace is not None else 0
        fee = self._fee(rule.name, progress, planned.from_day, planned.until_day, price)
        fee.reference = f"{tariff.tag}:{rule.name} {day_text(planned.from_day)}/{_until(planned.until_day)}"
        fee.event_ms = planned.due_ms
        fee.funds = FUNDS[rule.written.funds]
        fee.is_partial = rule.written.partial
        fee.gives_first = grace_ms > now_ms
        fee.lapses = rule.in_advance and 0 < planned.over_ms <= now_ms
        fee.suspends = rule.written.suspend and grace_ms <= now_ms
        fee.units = units
        if any(one.hours for one in units):
            fee.clock = clock_of(self._of.time_zone, self._now_ms)
        tried = await self._call(fee, progress)
        if progress.short:
            self._short += 1
            self._waiting = True
            progress.try_ms = now_ms + rule.retry_ms
            if tried.result == Result.TOO_MUCH:
                self._why = f"{rule.name}: there is no room for its units, or for the debt"
            soonest = progress.try_ms if planned.over_ms <= now_ms else min(progress.try_ms, planned.over_ms)
            self._later(min(soonest, grace_ms) if grace_ms > now_ms else soonest)
            return False
        if tried.result == Result.TOO_MUCH:
            self._why = f"{rule.name}: there is no room for its units, for the debt, or for another fee"
            self._later(now_ms + UNPRICED_MS)
            return False
        self._taken += tried.result == Result.OK
        return True

    def _units(self, rule: FeeRule, planned: PlannedPeriod, exchange: CurrencyExchange | None) -> list[FeeUnits]:
        course, zone_ = self.course, self.course.calendar.zone

        def into(kind: Kind, amount: int) -> Fraction:
            return amount * (exchange.rate if exchange is not None and kind == Kind.MONEY else Fraction(1))

        units = []
        for one in rule.allowances:
            until_day = planned.until_day
            for _ in range(one.rollover):
                until_day = rule.every.around(until_day, course.calendar).until_day
            until_ms = midnight_ms(zone_, until_day) if until_day < EVER else 0
            if course.ended_ms and (end_cut(rule, course) or rule.every.is_once):
                until_ms = min(until_ms, course.ended_ms) if until_ms else course.ended_ms
            amount = ceil(into(one.kind, one.amount) * planned.part)
            scope, carried = list(one.scope), -1
            if one.rollover and one.carried_max >= 0:
                carried = ceil(into(one.kind, one.carried_max))
            member = "" if one.shared else self._of.subscriber
            made = FeeUnits(one.name, one.kind, amount, until_ms, scope, one.priority, carried, member, one.blocker)
            made.hours = [WeekHours(*part) for part in one.hours]
            made.price, made.per = one.price, one.per
            if one.price and exchange is not None:
                made.price, made.per = exchanged(one.price, one.per, exchange.rate)
            units.append(made)
            if one.money:  # where it blocks, its money does
                money = ceil(into(Kind.MONEY, one.money) * planned.part)
                part = msgspec.structs.replace(made, kind=Kind.MONEY, amount=money, carried_max=-1, is_part=True)
                part.price, part.per = 0, 1
                units.append(part)
                made.blocker = False
        return units

    async def _end(self, name: str, progress: FeeProgress) -> None:
        """Settle it for good, once the assignment has ended; a fee that a version has no more is looked at again with
        the next version."""
        of, course = self._of, self.course
        if not of.ended_ms:
            return
        if of.ended_ms > self._now_ms:
            self._later(of.ended_ms)
            return
        keeps, takes_back = EXACT_MAX, False
        if progress.from_day:
            from_ms = max(midnight_ms(course.calendar.zone, progress.from_day), progress.start_ms)
            tariff, _ = self._catalog.in_force(of.tariff, from_ms)
            rule = next((one for one in tariff.parts.fees if one.name == name), None) if tariff is not None else None
            if rule is not None:
                takes_back = rule.every.is_once or end_cut(rule, course)
                if end_cut(rule, course) and not rule.every.is_once:
                    keeps = self._kept(rule, progress)
        day = progress.day or day_of(course.calendar.zone, progress.start_ms)
        fee = self._fee(name, progress, progress.from_day or day, day, FeePrice(keeps, _read(progress.price)[1], ()))
        fee.step, fee.takes_back, fee.event_ms = FeeStep.END, takes_back, of.ended_ms
        fee.reference = f"{of.tariff}:{name} ended"
        await self._call(fee, progress)
        if progress.known_day < fee.known_day:
            self._later(self._now_ms)
        else:
            progress.ended = True

    def _kept(self, rule: FeeRule, progress: FeeProgress) -> int:
        """Of what the period cost when it was taken, the days before the end."""
        whole, _ = _read(progress.price)
        is_first = progress.from_day == day_of(self.course.calendar.zone, progress.start_ms)
        part = charged_part(rule, self.course, progress.from_day, is_first=is_first)
        if whole is None:
            goes_on = self.course._replace(ended_ms=0)
            whole = Fraction(progress.paid, MICRO) / charged_part(rule, goes_on, progress.from_day, is_first=is_first)
        return int(rule.rounded(whole * part) * MICRO)

    def _fee(self, name: str, progress: FeeProgress, from_day: int, until_day: int, price: FeePrice) -> Fee:
        of, self.price = self._of, price
        days = day_text(from_day), _until(until_day)
        return Fee(
            account=of.account,
            key=str(FeeKey(of.subscriber, of.tariff, of.began_ms, name, *days, price.micro)),
            fingerprint="",
            now_ms=self._now_ms,
            remember_ms=0,
            actor=ACTOR,
            reason="",
            reference="",
            chain=fee_chain(of.subscriber, of.tariff, of.began_ms, name),
            subscriber=of.subscriber,
            step=FeeStep.TAKE,
            from_day=from_day,
            until_day=until_day,
            amount=price.micro,
            terms=price.terms,
            price=_written(price),
            known_day=progress.known_day,
        )

    async def _call(self, fee: Fee, progress: FeeProgress) -> TriedFee:
        """What the store made of it; `progress` is what it says. One that has lost what it settled says an earlier day:
        there it goes on."""
        tried = await self._take(fee, progress)
        mark = tried.mark
        if mark.day or fee.known_day:
            progress.known_day = mark.day
            progress.day, progress.from_day, progress.short = mark.day, mark.from_day, mark.short
            progress.paid, progress.price = sum(take.amount for take in mark.paid), mark.price
            progress.try_ms = 0
        progress.ended = progress.ended or mark.ended_ms > 0
        return tried


def _written(price: FeePrice) -> str:
    """What a whole period costs, with its terms: "21/2 tax=190000"."""
    return f"{price.whole} {price.terms}"


def _read(written: str) -> tuple[Fraction | None, str]:
    whole, _, terms = written.partition(" ")
    return Fraction(whole) if whole else None, terms


def _until(day: int) -> str:
    return day_text(day) if day < EVER else "ever"


def assignment_of(row: Any) -> FeeAssignment:
    """From a row of ocs/fees/rows.py."""
    return FeeAssignment(
        id=row["id"],
        account=row["account"],
        subscriber=row["subscriber"],
        tariff=row["tariff"],
        began_ms=row["began_ms"],
        ended_ms=row["ended_ms"],
        begins_by_change=row["begins_by_change"],
        ends_by_change=row["ends_by_change"],
        published_ms=row["published_ms"] or 0,
        progress=read_progress(row["progress"]),
        currency=row["currency"],
        time_zone=row["time_zone"],
        billing_day=row["billing_day"],
        attributes=msgspec.json.decode(row["attributes"] or "{}", type=dict[str, str]),
        assignments=msgspec.json.decode(row["assignments"], type=tuple[Assignment, ...]),
        tags=row["tags"],
        waiting=row["waiting"],
        due_ms=row["due_ms"] or 0,
        hurry=row["hurry"],
    )
