"""What a price costs to find: the three tariffs the aim of 15 us is for, and loading a table of 200,000 prefixes."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle
from random import Random
from typing import Final

from tariffs.catalog import Assignment, Catalog
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.rating import rate
from tariffs.tariff import Tariff

PREFIXES: Final = 200_000
NOW_MS: Final = 1_795_546_000_000
TRIES: Final = 7

FLAT: Final = """
tariff = "t"
currency = "EUR"
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
"""
VOICE: Final = """
tariff = "t"
currency = "EUR"
zone = "Europe/Berlin"
numbers = { country = "49" }
tables = { world = "world.csv" }
[bands]
peak = { days = "mon-fri", hours = "08:00-20:00" }
evening = { hours = "20:00-24:00" }
[[rows]]
name = "peak"
when = { service = "voice", to = "world", time = "peak" }
flat = { price = "to.peak", per = "1 min", increment = "60/1" }
[[rows]]
name = "evening"
when = { service = "voice", to = "world", time = "evening" }
flat = { price = "to.evening", per = "1 min", increment = "60/1" }
[[rows]]
name = "night"
when = { service = "voice", to = "world" }
flat = { price = "to.night", per = "1 min", increment = "60/1" }
"""
BUNDLE: Final = """
tariff = "t"
currency = "EUR"
zone = "Europe/Berlin"
counters = { monthly = { counts = "octets", period = "month" } }
[[rows]]
name = "included"
when = { service = "data" }
bundle = { per = "1 MB" }
[[rows]]
name = "fast"
when = { service = "data" }
below = { monthly = "10 GB" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
name = "slow"
when = { service = "data" }
flat = { price = "0.002", per = "1 MB" }
grade = "slow"
"""


def world() -> bytes:
    """Prefixes of two to seven digits in 250 zones, 50 prices each."""
    rng, rows = Random(1), ["prefix,zone,peak,evening,night"]
    for prefix in rng.sample(range(10, 10**7), PREFIXES):
        zone, price = prefix % 250, prefix % 50
        rows.append(f"{prefix},zone {zone},0.{price + 10:02},0.{price + 5:02},0.{price + 1:02}")
    return "\n".join(rows).encode()


def measure() -> dict[str, float]:
    """Microseconds, but for the load."""
    table, rng = world(), Random(2)
    files = {"world.csv": table}
    started = time.perf_counter()
    voice = load_tariff(VOICE, source="t.toml", files=files)
    load_ms = (time.perf_counter() - started) * 1e3
    find = voice.parts.tables["world"].find
    numbers = [f"00{rng.randrange(10**9, 10**12)}" for _ in range(5_000)]
    digits = cycle([number[2:] for number in numbers])
    calls = cycle([Inputs("voice", called=number) for number in numbers])
    rated_anew = _rating(voice, lambda: next(calls), forgetful=True)
    data = Inputs("data", apn="internet", rat_type=6)
    found = {
        "rate: flat data": _best(_rating(load_tariff(FLAT, source="t.toml"), lambda: data)),
        f"rate: voice, {PREFIXES:,} prefixes, three bands": _best(_rating(voice, lambda: next(calls))),
        "rate: voice, its ladder made anew": _best(rated_anew, 1_000),
        "rate: bundle and tier": _best(_rating(load_tariff(BUNDLE, source="t.toml"), lambda: data)),
        f"find a prefix among {PREFIXES:,}": _best(lambda: find(next(digits))),
        f"load {PREFIXES:,} prefixes, ms": load_ms,
    }
    return {name: round(spent, 2) for name, spent in found.items()}


def _rating(tariff: Tariff, inputs: Callable[[], Inputs], *, forgetful: bool = False) -> Callable[[], object]:
    catalog, chain, lines = Catalog([tariff]), [Assignment("t")], [(None, None)]

    def anew() -> object:
        tariff.remembered.clear()
        return rate(catalog, chain, "EUR", lines, inputs(), NOW_MS)

    return anew if forgetful else lambda: rate(catalog, chain, "EUR", lines, inputs(), NOW_MS)


def _best(call: Callable[[], object], repeat: int = 5_000) -> float:
    best = float("inf")
    for _ in range(TRIES):
        started = time.perf_counter()
        for _ in range(repeat):
            call()
        best = min(best, time.perf_counter() - started)
    return best / repeat * 1e6
