"""Elements nobody knows: a file and its name in `known.py` are all that loading, lint and explanations need.

So these two are put on the list, and asked for what their likes are asked.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import msgspec
import pytest

from tariffs import load
from tariffs.catalog import Assignment, Catalog
from tariffs.draft import LadderDraft
from tariffs.elements.element import TariffElement, WrittenBlocks, WrittenMoney
from tariffs.elements.known import BASES, ELEMENTS
from tariffs.explain import explain
from tariffs.inputs import Inputs
from tariffs.ladder import Step
from tariffs.lint.linter import lint
from tariffs.load import load_tariff
from tariffs.notation import Blocks, Quantity, WrittenPrice
from tariffs.tariff import Tariff
from tariffs.units import Kind

AT_MS = 1_772_323_200_000
HEAD = 'tariff = "t"\ncurrency = "EUR"\n'


class Levy(TariffElement, frozen=True):
    """Due with the first unit of a line, beside its fee."""

    key: ClassVar[str] = "levy"
    said_once: ClassVar[str] = "levy"

    due: WrittenPrice

    def written_money(self) -> tuple[WrittenMoney, ...]:
        return (WrittenMoney("due", self.due, changes="fee"),)

    def apply(self, draft: LadderDraft) -> None:
        draft.need_price()
        draft.fee += draft.money(self.due, fee=True)


class Vouchers(TariffElement, frozen=True):
    """Paid by units of a kind of their own, as long as there are any."""

    key: ClassVar[str] = "vouchers"
    base: ClassVar[bool] = True

    per: Quantity
    increment: Blocks | None = None

    def written_blocks(self) -> WrittenBlocks:
        return WrittenBlocks(self.per, self.increment)

    def included(self) -> Hashable:
        return "vouchers", self.per.kind

    def counts_in(self) -> Kind:
        return self.per.kind

    def apply(self, draft: LadderDraft) -> None:
        draft.unit = self.per.kind
        block = draft.increment(self.increment, self.per.kind)[1] if self.increment else self.per.amount
        draft.steps = [Step(self.per.kind, "vouchers", block, block)]


@pytest.fixture(autouse=True)
def on_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for element in (Levy, Vouchers):
        monkeypatch.setitem(ELEMENTS, element.key, element)
    monkeypatch.setattr(load, "BASES", (*BASES, Vouchers.key))


def tariff(text: str) -> Tariff:
    return load_tariff(HEAD + text, source="t.toml")


def found(text: str) -> dict[tuple[str, str], str]:
    return {(one.rule, one.where): one.text for one in lint(tariff(text), AT_MS)}


def test_it_is_part_of_the_price_and_explained() -> None:
    made = tariff('rows = [{ flat = { price = "0.01", per = "1 MB" }, levy = { due = "0.07" } }]')
    told = explain(Catalog([made]), [Assignment("t")], "EUR", (None, None), Inputs("data"), AT_MS)
    assert [(one.what, one.written) for one in told.prices] == [("flat.price per 1 MB", "0.01"), ("levy.due", "0.07")]
    assert "0.07" in " ".join(told.ladder)


def test_lint_says_that_another_row_comes_first() -> None:
    text = found("""
        rows = [
            { first = "1 MB", flat = { price = "0.01", per = "1 MB" }, levy = { due = "0.07" } },
            { flat = { price = "0.02", per = "1 MB" }, levy = { due = "0.08" } },
        ]
    """)["ignored", 'row "2"']
    assert text == 'its `levy` is never looked at: "1" comes first and says what counts'


def test_lint_knows_that_its_money_may_be_too_much() -> None:
    text = found("""
        surcharges = [{ name = "double", percent = 100, fees = true }]
        rows = [{ flat = { price = "0.01", per = "1 MB" }, levy = { due = "5000000000" } }]
    """)["too-large", 'row "1"']
    assert text.startswith("levy of 5000000000")


def test_lint_knows_that_its_units_run_out_and_what_its_blocks_are() -> None:
    told = found('rows = [{ vouchers = { per = "1 KB", increment = "1048576" } }]')
    assert "nothing is granted once its bundle is used up" in told["ends", 'row "1"']
    assert "more than 100 times" in told["increment-large", 'row "1"']
    twice = found('rows = [{ vouchers = { per = "1 KB" } }, { vouchers = { per = "1 MB" } }]')
    assert '"1" above it ends' in twice["limit-reached", 'row "2"']


def test_a_value_that_is_no_table_stands_for_nothing() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("0.07", Levy)
