"""Limits of what is spent, added to the price of a line (charging.md section 15)."""

from __future__ import annotations

import msgspec
import pytest

from tariffs.catalog import Assignment, Catalog
from tariffs.inputs import Inputs
from tariffs.ladder import Ladder, as_kept, limit_key_parts
from tariffs.limits import SpendingLimit, read_period
from tariffs.load import load_tariff
from tariffs.rating import goes_on, rate
from tariffs.tariff import Rated
from tariffs.units import Kind

TARIFF = load_tariff(
    """
    tariff = "t"
    currency = "EUR"
    [[rows]]
    when = { service = "data" }
    flat = { price = "0.01", per = "1 MB" }
    [[rows]]
    when = { service = "voice" }
    flat = { price = "0.10", per = "1 min" }
    [[rows]]
    when = { service = "sms" }
    free = true
    """,
    source="t.toml",
)
CATALOG = Catalog([TARIFF])
EVENING_MS = 1_792_965_600_000  # 2026-10-25 23:00 in Berlin, one hour before the day ends
DAY_MS = 86_400_000


def inputs(service: str, visited: str = "") -> Inputs:
    return Inputs(service, visited=visited, subscriber="kid", time_zone="Europe/Berlin")


def rated(service: str, *limits: SpendingLimit, visited: str = "", at_ms: int = EVENING_MS) -> Rated:
    (found,) = rate(CATALOG, [Assignment("t")], "EUR", [(None, None)], inputs(service, visited), at_ms, limits=limits)
    return found


def limit(period: str = "day", kind: Kind = Kind.MONEY, **others: object) -> SpendingLimit:
    return msgspec.structs.replace(SpendingLimit("pocket", kind, 5_000_000, period), **others)


def keys(found: Rated) -> list[tuple[str, int]]:
    assert found.ladder is not None
    assert msgspec.msgpack.decode(found.packed, type=Ladder) == found.ladder
    return [(one.key, one.limit) for one in found.ladder.counts]


def test_a_line_feeds_the_counter_of_its_subscriber_and_period() -> None:
    found = rated("data", limit())
    assert keys(found) == [("limit=kid|pocket|2026-10-25", 5_000_000)]
    assert limit_key_parts("limit=kid|pocket|2026-10-25") == ("kid", "pocket", "2026-10-25")
    assert found.cut_ms == EVENING_MS + 3_600_000, "no grant is used beyond the end of the day"
    assert keys(rated("data", limit("ever", shared=True))) == [("limit=|pocket|", 5_000_000)]
    assert rated("data", limit("ever")).cut_ms == 0


def test_of_several_the_first_period_to_end_cuts() -> None:
    found = rated("data", limit("month"), limit("day", name="daily"), limit("year", name="yearly"))
    assert [key for key, _ in keys(found)] == [
        "limit=kid|pocket|2026-10",
        "limit=kid|daily|2026-10-25",
        "limit=kid|yearly|2026",
    ]
    assert found.cut_ms == EVENING_MS + 3_600_000


def test_which_lines_it_is_about() -> None:
    assert keys(rated("voice", limit(services=("data",)))) == []
    assert keys(rated("voice", limit(kind=Kind.OCTETS))) == []
    assert len(keys(rated("data", limit(kind=Kind.OCTETS)))) == 1
    abroad = limit(not_visited=("262*",))
    assert keys(rated("data", abroad, visited="26201")) == []
    assert len(keys(rated("data", abroad, visited="310260"))) == 1
    assert keys(rated("data", abroad)) == [], "where it is, is not told"
    assert len(keys(rated("data", limit(visited=("310260", "20*")), visited="20801"))) == 1


def test_what_is_free_is_left_alone() -> None:
    assert keys(rated("sms", limit())) == []


def test_use_by_time_goes_on_with_the_counter_of_the_next_period() -> None:
    line, limits = (None, None), [limit()]
    pieces, known_ms = goes_on(
        CATALOG, [Assignment("t")], "EUR", line, inputs("voice"), EVENING_MS, EVENING_MS + DAY_MS, limits
    )
    assert known_ms == 0
    assert [(one.from_ms, keys(one.rated)[0][0]) for one in pieces] == [
        (EVENING_MS, "limit=kid|pocket|2026-10-25"),
        (EVENING_MS + 3_600_000, "limit=kid|pocket|2026-10-26"),
    ]


def test_what_is_kept_of_a_price_knows_no_limits() -> None:
    assert as_kept(rated("data", limit()).packed) == rated("data").packed
    assert as_kept(rated("data").packed) == rated("data").packed


@pytest.mark.parametrize("written", ["48 h", "7 d once", "fortnight", "month from 31"])
def test_a_period_is_one_of_the_calendar(written: str) -> None:
    with pytest.raises(ValueError, match="expected") as told:
        read_period(written)
    assert "first use" not in str(told.value), "which a limit does not have"


def test_no_counter_of_a_tariff_has_such_a_name() -> None:
    text = """
        tariff = "t"
        currency = "EUR"
        [counters."limit=x"]
        counts = "money"
        period = "day"
        [[rows]]
        flat = { price = "0.01", per = "1 MB" }
    """
    with pytest.raises(ValueError, match="begins those of spending limits"):
        load_tariff(text, source="t.toml")
