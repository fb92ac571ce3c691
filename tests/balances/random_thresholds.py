"""Notification thresholds and lines of services at random, for the tests that walk."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from balances.structs.account import Account
from balances.structs.thresholds import ServiceSuspension, Threshold
from balances.watched import is_below
from tariffs.units import EXACT_MAX, Kind

AMOUNTS = (-1_000, 0, 1, 50, 1_000, 60_000)


def random_thresholds(rng: Random, amounts: Sequence[int] = AMOUNTS) -> list[Threshold]:
    found = []
    for number in range(rng.choice((0, 1, 1, 2, 4))):
        kind = rng.choice((Kind.MONEY, Kind.MONEY, *Kind))
        bucket, service = rng.choice(("", "", "b", "main")), rng.choice(("", "", "data", "voice"))
        if rng.random() < 0.4:
            percent = rng.choice((1, 10, 50, 99, 100))
            below, rearm = 0, rng.randint(percent, 100)
        else:
            percent, below = 0, rng.choice(amounts)
            rearm = min(below + rng.choice((0, 0, 1, 500)), EXACT_MAX)
        tariff = rng.choice(("", "", "data-10"))
        found.append(Threshold(f"t{number}", kind, below, rearm, percent, bucket, service, tariff=tariff))
    return found


def random_services(rng: Random, amounts: Sequence[int] = AMOUNTS) -> list[ServiceSuspension]:
    names = rng.sample(("data", "voice", "sms"), rng.choice((0, 1, 1, 2)))
    lines = []
    for name in names:
        below = rng.choice(amounts)
        lines.append(ServiceSuspension(name, below, min(below + rng.choice((0, 0, 30, 10_000)), EXACT_MAX)))
    return lines


def begin(account: Account, thresholds: Sequence[Threshold], services: Sequence[ServiceSuspension] = ()) -> None:
    """As an account is opened with them: those that it is below begin as crossed, all services as served."""
    for one in thresholds:
        one.crossed_ms = max(account.clock_ms, 1) if is_below(one, account.buckets, account.clock_ms) else 0
    account.thresholds, account.services = list(thresholds), list(services)
