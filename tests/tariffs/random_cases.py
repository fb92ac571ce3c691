"""Random subscribers with random tariffs, and one session each: what the oracle and the real thing are both given."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tariffs.catalog import Assignment, Catalog, Exchanges
from tariffs.inputs import Inputs
from tariffs.load import load_tariff
from tariffs.notation import Amount
from tariffs.terms import CurrencyExchange
from tests.tariffs.charging_harness import ChargingHarness
from tests.tariffs.oracle import Oracle
from tests.tariffs.oracle_account import Assigned, OracleAccount, OracleBucket, OraclePiece
from tests.tariffs.oracle_document import OracleFacts, OracleTariff
from tests.tariffs.random_tariffs import (
    ATTRIBUTES,
    SERVICES,
    ZONES,
    Raw,
    chance,
    documents,
    one_of,
    promotions,
    text_of,
    world,
)

RATES = {("USD", "EUR"): [(0, "0.923457"), (1_700_000_000_000, "0.92")]}

# Around each of these something changes: hours, days, months, daylight-saving time of one of the zones.
INSTANTS = [
    "2026-03-02T07:00", "2026-03-02T19:00", "2026-03-06T23:00", "2026-03-31T22:00", "2026-04-01T00:00",
    "2026-06-14T22:00", "2026-12-24T23:00", "2026-12-31T18:30", "2026-03-29T01:00", "2026-10-25T00:00",
    "2026-10-25T01:00", "2026-03-08T05:00", "2026-03-08T07:00", "2026-11-01T06:00", "2026-10-03T15:30",
    "2026-04-04T15:00",
]  # fmt: skip


@dataclass
class RandomCase:
    """Everything a price depends on."""

    texts: list[str]
    """Documents; their place is their version."""
    assigned: list[Assigned]
    unit: str
    pieces: list[OraclePiece]
    buckets: list[OracleBucket]
    counters: dict[str, int]
    """Where they stand when the session begins, by name."""
    zone: str = "Europe/Berlin"
    attributes: dict[str, str] = field(default_factory=dict)
    called: str = ""
    visited: str = ""
    beside: bool = False
    """It is the time that is charged besides."""
    others: int = 0
    """What the other lines of the session came to before."""

    @property
    def start_ms(self) -> int:
        """When it begins."""
        return self.pieces[0].at_ms

    @property
    def total(self) -> int:
        """All that is used."""
        return sum(piece.units for piece in self.pieces)

    def account(self) -> OracleAccount:
        """With its own copy of the buckets. Where a block is to be paid by one bucket, there is one that can."""
        own = 10**9 if any("split = false" in text for text in self.texts) else 0
        return OracleAccount("EUR", [*deepcopy(self.buckets), OracleBucket("money", own)])

    def oracle(self) -> Oracle:
        """Ready for the session."""
        files = world("seconds" if self.beside else self.unit)
        read = [OracleTariff(text, files, at) for at, text in enumerate(self.texts, 1)]
        facts = OracleFacts(
            self.service, None, None, self.zone, "s1", self.attributes, {"called": self.called, "visited": self.visited}
        )
        oracle = Oracle(
            read,
            self.assigned,
            self.account(),
            facts,
            self.unit,
            exchange=RATES,
            beside=self.beside,
            others=self.others,
        )
        oracle.begin_with(self.counters, self.start_ms)
        return oracle

    @property
    def service(self) -> str:
        """Named as in the service table."""
        return "data" if self.beside else SERVICES[self.unit]

    def catalog(self) -> Catalog:
        """As a server holds it."""
        files = world("octets" if self.beside else self.unit)
        tariffs = [load_tariff(text, source="t.toml", version=at, files=files) for at, text in enumerate(self.texts, 1)]
        rates = {
            pair: [(from_ms, CurrencyExchange(Amount.read(rate), rate, "2026-01-01")) for from_ms, rate in each]
            for pair, each in RATES.items()
        }
        return Catalog(tariffs, exchanges=Exchanges(rates))

    def harness(self, catalog: Catalog) -> ChargingHarness:
        """Ready for the session."""
        inputs = Inputs(
            self.service,
            time_zone=self.zone,
            subscriber="s1",
            attributes=self.attributes,
            called=self.called,
            visited=self.visited,
        )
        chain = [Assignment(one.tariff, one.from_ms, one.until_ms) for one in self.assigned]
        harness = ChargingHarness(catalog, chain, inputs, self.account(), beside=self.beside, others=self.others)
        harness.begin_with(self.counters, self.start_ms)
        return harness


@st.composite
def windows(draw: st.DrawFn, start_ms: int) -> tuple[int, int]:
    """Of an assignment, which may begin or end while the session lasts."""
    begin_ms = one_of(draw, [0, start_ms - 5_000, start_ms + 61_000, start_ms + 30_500])
    end_ms = one_of(draw, [0, 0, start_ms + 90_000, start_ms + 33_333])
    return begin_ms, end_ms if end_ms > begin_ms else 0


@st.composite
def sessions(draw: st.DrawFn, unit: str, start_ms: int) -> list[OraclePiece]:
    """Reports: of time one after the other, of volume and pieces each priced as of its instant."""
    sizes = {
        "seconds": [1, 2, 7, 30, 59, 60, 61, 100],
        "octets": [1, 1024, 50_000, 2**20, 2**20 + 1, 700_000],
        "units": [1, 2, 3, 4],
    }
    pieces = []
    at_ms = start_ms
    for size in draw(st.lists(st.sampled_from(sizes[unit]), min_size=1, max_size=5)):
        pieces.append(OraclePiece(at_ms, size))
        at_ms += size * 1_000 if unit == "seconds" else one_of(draw, [0, 0, 40_000, 100_000])
    return pieces


@st.composite
def buckets(draw: st.DrawFn, unit: str) -> list[OracleBucket]:
    """What the account has besides its main balance."""
    sizes = {"seconds": [10, 60, 90, 1000], "octets": [1, 50_000, 2**20], "units": [1, 2, 5], "money": [1, 100_000]}
    found = []
    for _ in range(draw(st.integers(0, 3))):
        kind = one_of(draw, [unit, "units", "money"])
        scope = one_of(draw, [(), ("gift",), (SERVICES[unit],), ("gift", SERVICES[unit])])
        found.append(OracleBucket(kind, one_of(draw, sizes[kind]), scope))
    return found


@st.composite
def cases(
    draw: st.DrawFn, units: tuple[str, ...] = ("seconds", "octets", "units"), *, alone: bool = False
) -> RandomCase:
    """A subscriber, the tariffs, and one session.

    alone:  of one tariff, assigned for good
    """
    unit = one_of(draw, units)
    beside = unit == "seconds" and chance(draw, 8)  # time that is charged besides volume
    main = draw(documents("main", "octets" if beside else unit, whole=True, beside=beside))
    clock = datetime.fromisoformat(one_of(draw, INSTANTS) + "+00:00")
    start_ms = int(clock.timestamp()) * 1_000 - draw(st.integers(-20, 300)) * 1_000 + one_of(draw, [0, 0, 1, 500, 999])
    written, assigned = [main], [Assigned("main")]
    if not alone and not beside:
        if chance(draw, 3):
            written.append(draw(promotions(main["currency"])))
            assigned.append(Assigned("promo", *draw(windows(start_ms))))
        if chance(draw, 3):
            written.append(draw(documents("front", unit, letter="f")))
            assigned.insert(0, Assigned("front", *draw(windows(start_ms))))
        if chance(draw, 4):
            newer: dict[str, Any] = draw(documents("main", unit, letter="n", whole=True))
            at = datetime.fromtimestamp(start_ms // 1_000 + draw(st.integers(-10, 200)), UTC)
            written.append({"valid_from": Raw(at.strftime("%Y-%m-%dT%H:%M:%SZ"))} | newer)
    attributes = dict(ATTRIBUTES)
    if chance(draw, 2):
        attributes |= {"segment": "gold", "discount": one_of(draw, ["20", "7.5"])}
    return RandomCase(
        texts=[text_of(one) for one in written],
        assigned=assigned,
        unit=unit,
        pieces=draw(sessions(unit, start_ms)),
        buckets=draw(buckets(unit)),
        counters={
            f"{letter}{at}": one_of(draw, [0, 0, 20, 70, 100_000, 2_000_000]) for letter in "cfn" for at in (0, 1)
        },
        zone=one_of(draw, ZONES),
        attributes=attributes,
        called=one_of(draw, ["+493012345", "017712345", "0013334445555", "110"]),
        visited=one_of(draw, ["", "26201", "44010", "310410", "50501", "90112"]),
        beside=beside,
        others=one_of(draw, [0, 0, 3_333, 5_000, 12_345_678]),
    )
