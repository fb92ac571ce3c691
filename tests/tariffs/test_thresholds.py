"""`[[thresholds]]` of a tariff document."""

from __future__ import annotations

import pytest

from tariffs.document import TariffError
from tariffs.load import load_tariff
from tariffs.thresholds import DEFAULTS_MAX, DefaultThreshold
from tariffs.units import Kind

HEAD = 'tariff = "flat"\ncurrency = "EUR"\n'
ROW = '[[rows]]\nflat = { price = "0.01", per = "1 MB" }\n'


def loaded(*thresholds: str, **files: bytes) -> list[DefaultThreshold]:
    text = HEAD + ROW + "".join(f"[[thresholds]]\n{one}\n" for one in thresholds)
    return list(load_tariff(text, source="flat.toml", files=files).parts.thresholds)


def test_amounts_and_percentages() -> None:
    assert loaded(
        'name = "low"\nbelow = "5.00"\nrearm = 6',
        'name = "debt"\nbelow = "-2.5"',
        'name = "last gigabyte"\nkind = "octets"\nbelow = "1 GB"\nbucket = "month"',
        'name = "80 % used"\nkind = "seconds"\npercent = 20\nrearm_percent = 30\nservice = "voice"',
    ) == [
        DefaultThreshold("low", Kind.MONEY, 5_000_000, 6_000_000, currency="EUR"),
        DefaultThreshold("debt", Kind.MONEY, -2_500_000, -2_500_000, currency="EUR"),
        DefaultThreshold("last gigabyte", Kind.OCTETS, 2**30, 2**30, bucket="month"),
        DefaultThreshold("80 % used", Kind.SECONDS, 0, 30, 20, service="voice"),
    ]


def test_an_included_file_may_bring_some() -> None:
    common = b'[[thresholds]]\nname = "low"\nbelow = 5\n'
    text = HEAD + 'include = ["common.toml"]\n' + ROW
    tariff = load_tariff(text, source="flat.toml", files={"common.toml": common})
    assert [one.name for one in tariff.parts.thresholds] == ["low"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('name = "low"', "thresholds[1].below"),
        ('name = "low"\nbelow = 5\npercent = 10', "thresholds[1].below"),
        ('name = "low"\nbelow = 5\nrearm = 4', "thresholds[1].rearm"),
        ('name = "low"\npercent = 5\nrearm = 6', "thresholds[1].rearm"),
        ('name = "low"\npercent = 5\nrearm_percent = 4', "thresholds[1].rearm_percent"),
        ('name = "low"\nbelow = 5\nrearm_percent = 9', "thresholds[1].rearm_percent"),
        ('name = "low"\nbelow = "1 GB"', "thresholds[1].below"),
        ('name = "low"\nkind = "octets"\nbelow = "60 s"', "thresholds[1].below"),
        ('name = "a/b"\nbelow = 5', "thresholds[1].name"),
        ('name = "low"\npercent = 101', "thresholds[0].percent"),
        ('name = "low"\nbelow = 5\n[[thresholds]]\nname = "low"\nbelow = 6', "thresholds[2].name"),
    ],
    ids=[
        *("nothing", "both", "rearm below", "rearm of percent", "percent below", "percent of an amount"),
        *("octets of money", "seconds of octets", "name", "percentage", "twice"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, key: str) -> None:
    with pytest.raises(TariffError) as refused:
        loaded(text)
    assert refused.value.key == key


def test_there_is_a_bound() -> None:
    many = [f'name = "t{number}"\nbelow = {number}' for number in range(DEFAULTS_MAX)]
    assert len(loaded(*many)) == DEFAULTS_MAX
    with pytest.raises(TariffError, match="expected at most 8, not 9"):
        loaded(*many, 'name = "one more"\nbelow = 5')
