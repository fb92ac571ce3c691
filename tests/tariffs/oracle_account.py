"""What the oracle (tests/tariffs/oracle.py) is given: an account with buckets and counters, assignments, a session."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class OracleBucket:
    """One balance. A bucket without scope pays anything."""

    kind: str
    """money, octets, seconds or units"""
    amount: int
    scope: tuple[str, ...] = ()

    def pays(self, kind: str, scope: str) -> bool:
        """May it pay units of this kind for this purpose?"""
        return self.kind == kind and (not self.scope or scope in self.scope)


@dataclass
class OracleAccount:
    """Who pays. The last bucket of money without scope is the main balance, which alone may go below zero."""

    currency: str = "EUR"
    buckets: list[OracleBucket] = field(default_factory=list)
    counters: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """By name, period and value."""
    windows: dict[tuple[str, str], int] = field(default_factory=dict)
    """When the window of a counter began that runs from its first use; by name and value."""

    def has(self, kind: str, scope: str) -> int:
        """What can be paid of this kind, by all that may."""
        return sum(max(bucket.amount, 0) for bucket in self.buckets if bucket.pays(kind, scope))

    def pay(self, kind: str, scope: str, amount: int) -> int:
        """By the buckets in their order; returns what they could not cover."""
        for bucket in self.buckets:
            if bucket.pays(kind, scope):
                part = min(max(bucket.amount, 0), amount)
                bucket.amount -= part
                amount -= part
        return amount

    def has_one(self, kind: str, scope: str, amount: int) -> bool:
        """Is there a bucket that covers it alone?"""
        return any(bucket.pays(kind, scope) and bucket.amount >= amount for bucket in self.buckets)

    def pay_by_one(self, kind: str, scope: str, amount: int) -> int:
        """By the first bucket that covers it alone; all of it is left if there is none."""
        for bucket in self.buckets:
            if bucket.pays(kind, scope) and bucket.amount >= amount:
                bucket.amount -= amount
                return 0
        return amount

    def pay_money(self, scope: str, amount: int, *, split: bool = True) -> None:
        """What nobody covers becomes debt of the main balance."""
        left = self.pay("money", scope, amount) if split else self.pay_by_one("money", scope, amount)
        main = next(bucket for bucket in reversed(self.buckets) if bucket.kind == "money" and not bucket.scope)
        main.amount -= left

    def balances(self) -> list[int]:
        """Of all buckets, in their order."""
        return [bucket.amount for bucket in self.buckets]

    def units(self) -> list[int]:
        """Of all buckets but those of money."""
        return [bucket.amount for bucket in self.buckets if bucket.kind != "money"]

    def money(self) -> int:
        """Of all buckets of money together."""
        return sum(bucket.amount for bucket in self.buckets if bucket.kind == "money")


@dataclass(frozen=True)
class OraclePiece:
    """What was used between two reports: seconds from `at_ms` on, or octets or pieces then."""

    at_ms: int
    units: int


@dataclass(frozen=True)
class Assigned:
    """A tariff of the subscriber, half open; 0 is for good."""

    tariff: str
    from_ms: int = 0
    until_ms: int = 0
