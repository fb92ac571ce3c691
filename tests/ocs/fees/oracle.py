"""What the fees of an assignment come to, worked out day by day from charging.md section 21 alone: no file of the
server is used but the calendar of Python. Money is enough, so all that is due is taken."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Offer(NamedTuple):
    every: str
    """day, week, month, "month from 31", "month from start", "30 d", once"""
    price: Decimal
    advance: bool
    prorate: frozenset[str]


class Contract(NamedTuple):
    zone: str
    began: datetime
    ended: datetime | None
    begins_by_change: bool = False
    ends_by_change: bool = False


def begins(every: str, day: date, first: date) -> bool:
    """Whether a period begins on this day."""
    if every == "day":
        return True
    if every == "week":
        return day.weekday() == 0
    if every.endswith(" d"):
        return (day - first).days % int(every[:-2]) == 0
    wanted = first.day if every == "month from start" else int(every.partition(" from ")[2] or 1)
    return day.day == min(wanted, monthrange(day.year, day.month)[1])


def period(every: str, day: date, first: date) -> tuple[date, date]:
    since, until = day, day + timedelta(days=1)
    while not begins(every, since, first):
        since -= timedelta(days=1)
    while not begins(every, until, first):
        until += timedelta(days=1)
    return since, until


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def charged(offer: Offer, contract: Contract, now: datetime) -> list[tuple[str, Decimal]]:
    """First day of each period that was due by now, and what it costs in the end."""
    zone = ZoneInfo(contract.zone)
    first = contract.began.astimezone(zone).date()
    last = contract.ended.astimezone(zone).date() if contract.ended else None
    over = contract.ended if contract.ended and contract.ended <= now else None
    if contract.ended is not None and contract.ended <= contract.began:
        return []
    if offer.every == "once":
        return [(first.isoformat(), cents(offer.price))] if due_once(offer, contract) <= now else []
    found: list[tuple[str, Decimal]] = []
    day = first
    while True:
        since, until = period(offer.every, day, first)
        begin = contract.began if day == first else datetime.combine(day, datetime.min.time(), zone)
        end = datetime.combine(until, datetime.min.time(), zone)
        due = begin if offer.advance else min(end, contract.ended or end)
        if due > now or (last is not None and last <= day and day != first):
            return found
        days = (until - since).days
        charged_days = days
        if ("changed" if contract.begins_by_change or day != first else "first") in offer.prorate:
            charged_days -= (day - since).days
        known = contract.ended is not None and (over is not None or offer.advance)
        if last is not None and known and ("changed" if contract.ends_by_change else "last") in offer.prorate:
            charged_days -= max((until - max(last, day + timedelta(days=1))).days, 0)
        found.append((day.isoformat(), cents(offer.price * charged_days / days)))
        day = until


def due_once(offer: Offer, contract: Contract) -> datetime:
    if offer.advance or contract.ended is None:
        return contract.began
    return contract.ended
