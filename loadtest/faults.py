"""Faults of networks, made on purpose. All keep one rule: a request is sent again only as RFC 6733
section 5.5.4 allows (T bit, same End-to-End Identifier), so whatever happens, each use must be charged once.
"""

import random
from typing import NamedTuple

from loadtest.answers import LoadAnswer
from loadtest.client import LoadClient
from loadtest.link import LoadConnection, Request
from loadtest.subscriber import TRANSIENT


class FaultPlan(NamedTuple):
    duplicate: float = 0.0
    """Share of requests sent a second time at once."""
    cut_every_s: float = 0.0
    """On average; 0: never. All connections are cut, what was unanswered is sent again on the new ones."""


class PlantedFaults:
    """Plants faults and remembers the pairs of which both answers must be the same."""

    def __init__(self, client: LoadClient, plan: FaultPlan, rng: random.Random) -> None:
        self._client, self._plan, self._rng = client, plan, rng
        self.duplicates = self.cuts = 0
        self.contradictions: list[str] = []
        self._pairs: list[tuple[Request, Request]] = []
        self._next_cut_ns = 0

    def after_send(self, link: LoadConnection, request: Request, now_ns: int) -> None:
        """Called with every request that has just gone out."""
        if self._plan.duplicate and self._rng.random() < self._plan.duplicate:
            self.duplicates += 1
            self._pairs.append((request, self._client.repeat(link, request)))
            if len(self._pairs) >= 1_000:
                self.compare()
        if self._plan.cut_every_s:
            if not self._next_cut_ns:
                self._plan_cut(now_ns)
            elif now_ns > self._next_cut_ns:
                self._plan_cut(now_ns)
                self.cuts += 1
                self._client.cut()

    def compare(self) -> None:
        """The pairs that are answered: same result, same grants, line for line."""
        open_pairs = []
        for first, second in self._pairs:
            if first.answer is None or second.answer is None:
                open_pairs.append((first, second))
            elif not _same(first.answer, second.answer) and len(self.contradictions) < 100:
                self.contradictions.append(f"{first.session.decode()}: {first.answer} and then {second.answer}")
        self._pairs = open_pairs[-10_000:]

    def _plan_cut(self, now_ns: int) -> None:
        self._next_cut_ns = now_ns + int(self._rng.expovariate(1 / self._plan.cut_every_s) * 1e9)


def _same(first: LoadAnswer, second: LoadAnswer) -> bool:
    # "Not now" says nothing about the request; which of the two was told so is chance.
    return first == second or first.result in TRANSIENT or second.result in TRANSIENT
