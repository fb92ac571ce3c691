"""Customers with a tariff, and what they pay, as tables a product manager can read.

The first line of a table names its columns:

    start                 use     price    called
    2026-03-02T19:59:30   90 s    0.15     030123      # why

`start` is what the clock shows in Berlin (with +01:00 or +02:00 where it shows that twice), `use` a quantity, `price`
in the currency of the account. Further columns: `group` and `id` of the line, `units` (what is left in the buckets that
are not money), `subscriber`, any other fact of a request, and attributes as `subscriber.segment`. "-" is not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tariffs.catalog import Assignment, Catalog, Exchanges
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.notation import Amount
from tariffs.terms import CurrencyExchange
from tests.tariffs.charging_harness import ChargingHarness
from tests.tariffs.oracle import MICRO, Oracle
from tests.tariffs.oracle_account import Assigned, OracleAccount, OracleBucket, OraclePiece
from tests.tariffs.oracle_clock import zone
from tests.tariffs.oracle_document import OracleFacts, OracleTariff, quantity

BERLIN = "Europe/Berlin"
COLUMNS = ("start", "use", "price", "group", "id", "units", "subscriber")


def ms_of(text: str) -> int:
    """An instant as a clock in Berlin shows it."""
    clock = datetime.fromisoformat(text)
    if clock.tzinfo is None:
        clock = clock.replace(tzinfo=zone(BERLIN))
    return round(clock.timestamp() * 1_000)


def lines_of(table: str) -> list[dict[str, str]]:
    """Each line by the names of the columns; "90 s" is one column."""
    header, *lines = [line.partition("#")[0].split() for line in table.strip().splitlines() if line.strip()]
    found = []
    for words in lines:
        if len(words) == len(header) + 1:
            words[1:3] = [f"{words[1]} {words[2]}"]
        if words:
            assert len(words) == len(header), words
            found.append({name: word for name, word in zip(header, words, strict=True) if word != "-"})
    return found


@dataclass
class Customer:
    """Someone with tariffs."""

    documents: str | list[str]
    """One tariff or several; of the same name: its versions in order. The first is tried first."""
    service: str = "voice"
    buckets: list[tuple[str, int]] = field(default_factory=list)
    """Kind and amount."""
    currency: str = "EUR"
    files: Mapping[str, bytes] = field(default_factory=dict)
    rates: Mapping[tuple[str, str], str] = field(default_factory=dict)
    later_rates: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """From a time on, these."""
    windows: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Tariffs that are assigned only from one time until another."""
    beside: bool = False

    def __post_init__(self) -> None:
        texts = [self.documents] if isinstance(self.documents, str) else self.documents
        texts = [text if "currency" in text else f'currency = "EUR"\n{text}' for text in texts]
        texts = [text if "tariff =" in text else f'tariff = "t"\n{text}' for text in texts]
        self._read = [OracleTariff(text, self.files, at) for at, text in enumerate(texts, 1)]
        self._rates = {pair: [(0, rate)] for pair, rate in self.rates.items()}
        for pair, (since, rate) in self.later_rates.items():
            self._rates[pair].append((ms_of(since), rate))
        pairs = {
            pair: [(from_ms, CurrencyExchange(Amount.read(rate), rate, "2026-01-01")) for from_ms, rate in each]
            for pair, each in self._rates.items()
        }
        self._catalog = Catalog(
            [load_tariff(text, source="t.toml", version=at, files=self.files) for at, text in enumerate(texts, 1)],
            exchanges=Exchanges(pairs),
        )
        self._chain = []
        for name in dict.fromkeys(one.name for one in self._read):
            from_ms, until_ms = (ms_of(text) for text in self.windows[name]) if name in self.windows else (0, 0)
            self._chain.append(Assigned(name, from_ms, until_ms))
        self._forget()

    def _forget(self) -> None:
        """As on the first day."""
        self.account = self._opened()
        self._mirror = self._opened()
        self._counters: dict[str, int] = {}
        self._since_ms: dict[str, int] = {}

    def _opened(self) -> OracleAccount:
        own = [OracleBucket(kind, amount) for kind, amount in self.buckets]
        return OracleAccount(self.currency, [*own, OracleBucket("money", 0)])

    def check(self, table: str) -> None:
        """Each line of the table is the first that this customer does."""
        for line in lines_of(table):
            for cut in (1, 2, 3):
                self._forget()
                self._one(line, cut)

    def in_turn(self, table: str) -> None:
        """The lines of the table come one after the other: bundles get empty, counters full."""
        self._forget()
        for at, line in enumerate(lines_of(table)):
            self._one(line, 1 + at % 3)

    def harness(self, line: Mapping[str, str]) -> ChargingHarness:
        """A fresh line, on the account as it is."""
        inputs = Inputs(
            self.service,
            time_zone=BERLIN,
            subscriber=line.get("subscriber", ""),
            attributes=attributes_of(line),
            **others_of(line),
        )
        chain = [Assignment(one.tariff, one.from_ms, one.until_ms) for one in self._chain]
        return ChargingHarness(
            self._catalog,
            chain,
            inputs,
            self.account,
            number(line, "group"),
            number(line, "id"),
            self.beside,
            self._counters,
            self._since_ms,
        )

    def _one(self, line: Mapping[str, str], cut: int) -> None:
        """The oracle confirms the table, and the tariff agrees with both. `cut`: in so many reports."""
        kind, units = quantity(int(line["use"]) if line["use"].isdigit() else line["use"])
        start_ms, step_ms = ms_of(line["start"]), 1_000 if kind == "seconds" else 0
        sizes = [size for size in [units // cut] * (cut - 1) + [units - units // cut * (cut - 1)] if size]
        pieces = [OraclePiece(start_ms + sum(sizes[:at]) * step_ms, size) for at, size in enumerate(sizes)]
        micro = int(Decimal(line["price"].replace("_", "")) * MICRO)
        facts = OracleFacts(
            self.service,
            number(line, "group"),
            number(line, "id"),
            BERLIN,
            line.get("subscriber", ""),
            attributes_of(line),
            others_of(line),
        )
        oracle = Oracle(self._read, self._chain, self._mirror, facts, kind, exchange=self._rates, beside=self.beside)
        by_oracle = oracle.use([OraclePiece(start_ms, units)])
        if by_oracle != micro:
            raise ValueError(f"by the specification it costs {by_oracle} micro-units: {line}")
        assert self.harness(line).use(pieces) == micro, line
        if "units" in line:
            assert sum(self.account.units()) == Fraction(line["units"]), line
        assert self.account.balances() == self._mirror.balances(), line


def number(line: Mapping[str, str], column: str) -> int | None:
    """Of a line: rating group or service identifier."""
    return int(line[column]) if column in line else None


def attributes_of(line: Mapping[str, str]) -> dict[str, str]:
    """What the master data says of the subscriber."""
    marked = {name.partition(".")[2]: word for name, word in line.items() if name.startswith("subscriber.")}
    return {name: word.replace("_", " ") for name, word in marked.items()}


def others_of(line: Mapping[str, str]) -> dict[str, Any]:
    """Facts of the request."""
    return {name: word for name, word in line.items() if name not in COLUMNS and not name.startswith("subscriber.")}
