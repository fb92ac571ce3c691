"""An oracle of prices: slow, obvious, and written from tariffs/README.md and design/charging.md alone.

It never makes a ladder. It goes through a session second by second (time) or block by block (volume, pieces), asks at
the begin of each block which row prices it, and adds up exact fractions. Where the specification leaves a choice, a
sentence that begins with "Choice:" says what was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.tariffs.oracle_account import Assigned, OracleAccount, OraclePiece
from tests.tariffs.oracle_clock import is_window, length_ms, period_of
from tests.tariffs.oracle_document import (
    OracleFacts,
    OracleTariff,
    Row,
    as_fine_as_fits,
    clock_of,
    increment,
    quantity,
    whole,
)

MICRO = 1_000_000


class NoPrice(Exception):
    """Nothing prices the line: rating failed."""


@dataclass
class OracleLine:
    """How far a line is."""

    used: int = 0
    paid: int = 0
    """Units up to here are in blocks that are paid."""
    done: int = 0
    """Sum of the runs before this one, each rounded once."""
    run: Fraction = Fraction(0)
    run_of: tuple[Fraction, str] | None = None
    """Choice: paid blocks of one price, rounded in one direction, that follow each other are one run."""
    charged: int = 0
    """What money is due for the blocks, the set-up fee not counted, before the session is rounded."""
    fee: int = 0
    fee_done: bool = False
    cost: int = 0
    """Everything that was debited of money."""

    def worth(self) -> int:
        """The prices of the blocks so far, without minimum and maximum."""
        return self.done + (whole(self.run, self.run_of[1]) if self.run_of else 0)


@dataclass
class Begin:
    """Where a block begins, and what is in force there."""

    document: OracleTariff
    promotions: list[OracleTariff]
    at_ms: int
    rows: list[Row]
    """Those that match, from the top."""
    many: int
    """Units reported, that may be gone through in one go where they are free."""


class Oracle:
    """What one line of a subscriber costs."""

    def __init__(
        self,
        documents: Iterable[OracleTariff],
        assigned: list[Assigned],
        account: OracleAccount,
        facts: OracleFacts,
        unit: str,
        *,
        exchange: Mapping[tuple[str, str], list[tuple[int, str]]] | None = None,
        beside: bool = False,
        others: int = 0,
    ) -> None:
        """
        others:    what the other lines of the session came to before, in whatever way the session is rounded
        unit:      what is reported: "seconds", "octets" or "units"
        exchange:  rates of a pair of currencies, each from an instant on
        beside:    it is what is charged besides, in its own unit
        """
        self.documents, self.assigned, self.account, self.facts = list(documents), assigned, account, facts
        self.unit, self.exchange, self.base = unit, exchange or {}, "beside" if beside else "flat"
        self.line = OracleLine()
        self.others, self.sums = others, dict[tuple[Fraction, str], int]()

    def begin_with(self, levels: Mapping[str, int], at_ms: int) -> None:
        """Where counters stand at the begin, by their names."""
        document, _ = self.tariff_at(at_ms)
        for name in document.counters:
            self.account.counters[self._key(document, name, at_ms, begin=True)] = levels[name]

    # ------------------------------------------------------------ the walk

    def use(self, pieces: Iterable[OraclePiece]) -> int:
        """Use all this; returns what money paid for it."""
        before = self.line.cost
        for piece in pieces:
            if self.unit == "seconds":
                for second in range(piece.units):
                    self._second(piece.at_ms + 1_000 * second)
            else:
                self._volume(piece)
        return self.line.cost - before

    def _second(self, at_ms: int) -> None:
        if self.line.used >= self.line.paid:
            self._begin(at_ms, 1)
        self.line.used += 1
        self._count_units(1, at_ms)

    def _volume(self, piece: OraclePiece) -> None:
        left = piece.units
        while left:
            if self.line.used >= self.line.paid:
                self._begin(piece.at_ms, left)
            part = min(left, self.line.paid - self.line.used)
            self.line.used += part
            self._count_units(part, piece.at_ms)
            left -= part

    def _begin(self, at_ms: int, many: int) -> None:
        """A unit is used that is not paid yet: a block begins. A bundle that covers a part of one leaves the rest to
        the next row, which rounds it anew, and so on until the whole of that block is paid."""
        until = self.line.paid + 1
        unit_ms = 1_000 if self.unit == "seconds" else 0
        document, promotions = self.tariff_at(at_ms)
        while self.line.paid < until:
            then_ms = at_ms + (self.line.paid - self.line.used) * unit_ms
            rows = document.matching(self.facts, then_ms)
            if self.base == "beside":
                rows = [row for row in rows if "beside" in row]
            left = max(many - (self.line.paid - self.line.used), 1)
            until = max(until, self._pay_block(Begin(document, promotions, then_ms, rows, left)))

    # ------------------------------------------------------------ which row prices it

    def tariff_at(self, at_ms: int) -> tuple[OracleTariff, list[OracleTariff]]:
        """The first tariff with a row for the line, and the promotions assigned."""
        chain: list[OracleTariff] = []
        promotions: list[OracleTariff] = []
        for one in self.assigned:
            if at_ms >= one.from_ms and (at_ms < one.until_ms or not one.until_ms):
                newest = self._version(one.tariff, at_ms)
                if newest is not None:
                    (promotions if newest.promotion else chain).append(newest)
        for document in chain:
            document.read_clock(self.facts)
            if document.matching(self.facts, at_ms):
                return document, promotions
        raise NoPrice

    def _version(self, name: str, at_ms: int) -> OracleTariff | None:
        """The newest that is already valid."""
        valid = [one for one in self.documents if one.name == name and (one.from_ms is None or one.from_ms <= at_ms)]
        return max(valid, key=lambda one: (one.from_ms or 0, one.version), default=None)

    def _pay_block(self, begin: Begin) -> int:
        """Pay one block; returns up to where it reaches, which is more than is paid if a bundle ends in it.

        Rows from the top: each one that matches prices until its limit is reached, the first without a limit is the
        last. If all have one, further use costs what the last one costs.
        """
        self._debit(begin, self._fee(begin, money=False))
        row = self._pricing(begin)  # once more: the fee may have brought a counter to a limit
        if row is None or not self._able(begin, row):
            if row is None:
                self.line.paid += begin.many  # units are never owed
                return self.line.paid
            return self._pay_priced(begin, row, begin.many)
        if "bundle" in row:
            covered, block = self._pay_bundle(begin.document, row)
            first, self.line.paid = self.line.paid, self.line.paid + covered
            return first + block
        room = self._room(begin, row)
        return self._pay_priced(begin, row, begin.many if room is None else min(begin.many, room))

    def _able(self, begin: Begin, row: Row) -> bool:
        """Is its limit not reached? Units of a bundle are one."""
        return self._room(begin, row) != 0 and ("bundle" not in row or self._bundled(begin.document, row)[0] > 0)

    def _pricing(self, begin: Begin) -> Row | None:
        """The row that prices the next block: the first whose limit is not reached, else the last one that has a price.
        Choice: a bundle with nothing left has no price of its own."""
        able = (row for row in begin.rows if self._able(begin, row))
        return next(able, None) or next((row for row in reversed(begin.rows) if "bundle" not in row), None)

    def _pay_priced(self, begin: Begin, row: Row, alike: int) -> int:
        """`alike`: so many units, if they are free, are all the same."""
        if "free" in row:
            self.line.paid += 1 if self.unit == "seconds" else alike
            return self.line.paid
        return self._pay_money(begin, row)

    def _room(self, begin: Begin, row: Row) -> int | None:
        """Units, at most, until a limit of the row is reached: 0 if it is, None where it has none."""
        rooms: list[int] = []
        if "first" in row:
            rooms.append(max(quantity(row["first"])[1] - self.line.paid, 0))
        for name, written in row.get("below", {}).items():
            counter = begin.document.counters[name]
            limit = begin.document.given(written, row, self.facts)
            value = self._value(begin.document, name, begin.at_ms)
            if counter["counts"] == "money":
                rooms.append(10**18 if value < self._money_limit(begin, limit) else 0)
            else:
                if self._fed(begin.document, counter, begin.at_ms):
                    value += self.line.paid - self.line.used
                rooms.append(max(quantity(limit)[1] - value, 0))
        return min(rooms) if rooms else None

    def _left(self, begin: Begin) -> int | None:
        """Money until the counter by which the pricing row ends is there, if the line moves it."""
        row = self._pricing(begin)
        if row is None or not self._able(begin, row):
            return None
        for name, written in row.get("below", {}).items():
            counter = begin.document.counters[name]
            if counter["counts"] == "money" and self._fed(begin.document, counter, begin.at_ms):
                limit = self._money_limit(begin, begin.document.given(written, row, self.facts))
                return limit - self._value(begin.document, name, begin.at_ms)
        return None

    def _money_limit(self, begin: Begin, written: Any) -> int:
        """Counters of money count the account's. Choice: exchanged as prices are, rounded half up; without tax."""
        return whole(self._exchanged(begin, Fraction(written)) * MICRO, "half_up")

    def _of_line(self, begin: Begin, key: str) -> Row | None:
        """A set-up fee, minimum or maximum is, "at each block, of the row that prices it and those below, the first
        that says one"."""
        if self.base == "beside":
            return None
        pricing = self._pricing(begin)
        if pricing is None:  # choice: then it is as the last row says
            pricing = begin.rows[-1]
        elif not self._able(begin, pricing):
            return pricing if key in pricing else None
        return next((row for row in begin.rows[begin.rows.index(pricing) :] if key in row), None)

    # ------------------------------------------------------------ counters

    def _fed(self, document: OracleTariff, counter: dict[str, Any], at_ms: int) -> bool:
        """Does the line meet its conditions?"""
        same = counter["counts"] in ("money", self.unit)
        return same and document.holds(counter.get("when", {}), self.facts, at_ms)

    def _key(self, document: OracleTariff, name: str, at_ms: int, *, begin: bool) -> tuple[str, str, str]:
        """Where it counts at this instant. `begin`: and it is used now, so a window begins if none runs."""
        counter = document.counters[name]
        by = counter.get("by", "")
        value = str(self.facts.get(by)) if by else ""
        period = counter["period"]
        if not is_window(period):
            clock = clock_of(counter["zone"], self.facts) if "zone" in counter else self.facts.zone
            return name, period_of(period, at_ms, clock), value
        since_ms = self.account.windows.get((name, value))
        again = "once" not in period
        runs = since_ms is not None and (not again or at_ms < since_ms + length_ms(period))
        if begin and not runs:
            since_ms, runs = at_ms, True
            self.account.windows[name, value] = at_ms
        return name, f"since {since_ms}" if runs else "not yet", value

    def _value(self, document: OracleTariff, name: str, at_ms: int) -> int:
        return self.account.counters.get(self._key(document, name, at_ms, begin=False), 0)

    def _raise(self, document: OracleTariff, what: str, amount: int, at_ms: int) -> None:
        for name, counter in document.counters.items():
            if amount and counter["counts"] == what and self._fed(document, counter, at_ms):
                key = self._key(document, name, at_ms, begin=True)
                self.account.counters[key] = self.account.counters.get(key, 0) + amount

    def _count_units(self, units: int, at_ms: int) -> None:
        """Whichever row prices them."""
        document, _ = self.tariff_at(at_ms)
        self._raise(document, self.unit, units, at_ms)

    # ------------------------------------------------------------ who pays

    def _bundled(self, document: OracleTariff, row: Row) -> tuple[int, int, int]:
        """Units of the line that it can cover of the next block, the size of that, and what is taken for it."""
        bundle = row["bundle"]
        per_kind, per = quantity(bundle["per"])
        first, further = increment(document.given(bundle.get("increment", per), row, self.facts), per_kind)
        block = first if self.line.paid < first else further
        kind, takes = bundle.get("of", per_kind), bundle.get("takes", per)
        scope = bundle.get("scope", self.facts.service)
        cost = Fraction(takes * block, per)
        assert cost.denominator == 1, "a block takes whole units"
        if bundle.get("split", True) is False:
            able = self.account.has_one(kind, scope, int(cost))
            return block if able else 0, block, int(cost)
        part = min(Fraction(self.account.has(kind, scope)) / cost, Fraction(1))
        covered = int(part * block)
        return covered, block, -(-takes * covered // per)

    def _pay_bundle(self, document: OracleTariff, row: Row) -> tuple[int, int]:
        """Units of the line that are covered, and the size of the block."""
        covered, block, taken = self._bundled(document, row)
        bundle = row["bundle"]
        kind, scope = bundle.get("of", quantity(bundle["per"])[0]), bundle.get("scope", self.facts.service)
        if bundle.get("split", True) is False:
            self.account.pay_by_one(kind, scope, taken)
        else:
            self.account.pay(kind, scope, taken)
        return covered, block

    def _pay_money(self, begin: Begin, row: Row) -> int:
        written = row[self.base]
        per_kind, per = quantity(written["per"])
        first, further = increment(begin.document.given(written.get("increment", per), row, self.facts), per_kind)
        # Choice: the first increment is that of the line, not of each row or band.
        block = first if self.line.paid < first else further
        price = self._final(begin, row, written["price"], fees=False) * block / per
        line = self.line
        if price == 0:  # "A block that costs nothing is not paid with money"
            line.paid += block
            return line.paid
        least, most, left = self._bound(begin, "minimum"), self._bound(begin, "maximum"), self._left(begin)
        fee = self._fee(begin, money=True)
        if left is not None:  # "the block that reaches the limit costs what is left, and so does a fee"
            bound = line.charged + left - fee
            least, most = min(least or 0, bound), bound if most is None else min(most, bound)
        if line.run_of is None:  # "the first so much ... of the row that prices the first block with a price"
            line.done -= self._bound(begin, "off") or 0
        self._add(as_fine_as_fits(price), written.get("rounding", "up"))

        due = max(self._rounded(begin, max(line.worth(), 0)), least or 0)
        if most is not None and due > most:
            due = most
        if due == most and line.worth() > most:  # use that happened is never priced again
            # Choice: what the bound cuts off is forgiven, and the run goes on: its sum is rounded once all the same.
            line.done -= line.worth() - max(most, line.charged)
        due = max(line.charged, due)
        more, line.charged = due - line.charged, due
        # Choice: a fee that is waived is paid together with the block it comes with, also where that is paid by one.
        self._debit(begin, more + fee, split=written.get("split", True))
        self._raise(begin.document, "money", more, begin.at_ms)
        line.paid += block
        return line.paid

    def _add(self, price: Fraction, rounding: str) -> None:
        """One more block of this price: a run of equal blocks is rounded once, on its sum."""
        line = self.line
        if line.run_of != (price, rounding):
            line.done, line.run, line.run_of = line.worth(), Fraction(0), (price, rounding)
        line.run += price

    def _fee(self, begin: Begin, *, money: bool) -> int:
        """Due with the first unit of the line, once; if waived, only with the first block that money pays. What is due
        of it now."""
        if self.line.fee_done:
            return 0
        row = self._of_line(begin, "setup")
        waived = row is not None and row["setup"].get("waived", False)
        if waived is not money:
            return 0
        self.line.fee_done = True
        if row is not None:
            # Choice: finer than a micro-unit it is rounded half up; the specification names no direction.
            fee = whole(self._final(begin, row, row["setup"]["fee"], fees=True), "half_up")
            self.line.fee = self._rounded(begin, fee)
            if (left := self._left(begin)) is not None:
                self.line.fee = min(self.line.fee, left)
            self._raise(begin.document, "money", self.line.fee, begin.at_ms)
        return self.line.fee

    # ------------------------------------------------------------ from what is written to what is debited

    def _final(self, begin: Begin, row: Row, written: Any, *, fees: bool) -> Fraction:
        """In micro-units: surcharges, discounts, tax, exchange rate, each exact."""
        price = Fraction(begin.document.given(written, row, self.facts))
        price = begin.document.changed(price, self.facts, begin.at_ms, begin.promotions, fees=fees)
        return self._debited(begin, price)

    def _bound(self, begin: Begin, key: str) -> int | None:
        """Minimum, maximum and what is off are as written. Choice: but with the tax, in the account's money, rounded
        half up."""
        row = self._of_line(begin, key)
        if row is None:
            return None
        written = row[key]["charge"] if key != "off" else row[key]
        amount = whole(self._debited(begin, Fraction(begin.document.given(written, row, self.facts))), "half_up")
        return amount if key == "off" else self._rounded(begin, amount)

    def _rounding(self, begin: Begin, of: str) -> tuple[Fraction, str] | None:
        """Of the "line" or the "session": to what amount and how, as the first row of the line says that has it,
        whatever its limits. A line is rounded by itself or with its session."""
        said = next((row["round"] for row in begin.rows if "round" in row), None)
        if said is None:
            return None
        written: Row = said if isinstance(said, dict) else {"to": said}
        if written.get("of", "line") != of:
            return None
        return Fraction(written["to"]) * MICRO, written.get("rounding", "half_up")

    def _rounded(self, begin: Begin, amount: int) -> int:
        """Of the line by itself."""
        return multiple(amount, self._rounding(begin, "line"))

    def _debit(self, begin: Begin, amount: int, *, split: bool = True) -> None:
        """What money pays of it: of a session that is rounded what the rounded sum of its lines has grown by. The sum
        is of one rounding: what is rounded otherwise, or not with the session, is in none or in another one."""
        rounding = self._rounding(begin, "session")
        if rounding is not None:
            before = self.sums.get(rounding, self.others)
            self.sums[rounding] = before + amount
            amount = multiple(before + amount, rounding) - multiple(before, rounding)
        self.line.cost += amount
        self.account.pay_money(self.facts.service, amount, split=split)

    def _debited(self, begin: Begin, amount: Fraction) -> Fraction:
        """With tax, in micro-units of the account's currency."""
        return self._exchanged(begin, begin.document.taxed(amount, self.facts, begin.at_ms)) * MICRO

    def _exchanged(self, begin: Begin, amount: Fraction) -> Fraction:
        pair = (begin.document.currency, self.account.currency)
        if pair[0] != pair[1]:
            stored = [rate for from_ms, rate in self.exchange.get(pair, []) if from_ms <= begin.at_ms]
            if not stored:
                raise NoPrice
            amount *= Fraction(stored[-1])
        return amount


def multiple(amount: int, rounding: tuple[Fraction, str] | None) -> int:
    """Rounded to a multiple."""
    if rounding is None:
        return amount
    to, how = rounding
    many = amount / to
    return int(to * (round(many) if how == "half_even" else whole(many, how)))
