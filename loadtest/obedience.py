"""Whether the network obeys the balance: what sessions do when they are told, and what is used after an account has
crossed its line.

The crossing is found by our own arithmetic: an account crosses when what it had, less what we owe, falls below the
line of the scenario. From then on everything it comes to owe counts as used after the crossing. What may still be used
is bounded: by what its sessions had been granted, and by grants in answers to requests that were under way just then.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from hdrh.histogram import HdrHistogram

from loadtest.link import LoadConnection, Request
from loadtest.pricing import micro
from loadtest.scenario import Obeys, Scenario
from loadtest.subscriber import LoadSession
from protocol.diameter.dictionary.base import AbortSessionRequest
from protocol.diameter.dictionary.credit_control import ReAuthRequest
from protocol.diameter.message import DiameterCommand

US_MAX = 600_000_000
AHEAD_NS = 1_000_000_000
"""A request to a session may overtake the answer from which we see that its account has crossed: by so much at most."""


class AccountCrossing:
    """An account below its line."""

    __slots__ = ("at_ns", "bound", "used", "was_told")

    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns
        self.used = 0
        """Micro-units that it came to owe since."""
        self.bound = 0
        """Micro-units that it could come to owe by what had been granted."""
        self.was_told = False

    def told(self, counts: "PersonaCounts", now_ns: int) -> None:
        self.was_told = True
        counts.told_us.record_value(max(1, (now_ns - self.at_ns) // 1_000))


class PersonaCounts:
    """Of the sessions of one kind: told when, and used for how long after that."""

    def __init__(self) -> None:
        self.reports = self.ends = 0
        """RAR and ASR that reached an open session."""
        self.used = 0
        """Micro-units used by them after their accounts had crossed."""
        self.told_us = HdrHistogram(1, US_MAX, 3)
        """From the crossing of the account to the first request that reached a session of it."""
        self.obeyed_us = HdrHistogram(1, US_MAX, 3)
        """From a request to the next answer of its session."""


class ObedienceSums(NamedTuple):
    """Of all accounts, for the report."""

    accounts: int
    told: int
    """Of those that crossed with a session open."""
    silent: int
    """Crossed with a session open that was still open at the end, and nobody told it."""
    used: int
    bound: int
    beyond: int
    """Accounts that used more than their sessions had been granted: never right."""


class Playing(Protocol):
    """The part of runner.LoadRun that is needed here."""

    open: dict[bytes, tuple[LoadSession, LoadConnection]]

    def hurry(self, session: LoadSession, link: LoadConnection) -> None: ...


class Obedience:
    """
    run:      whose sessions are told
    balances: what each account had when it began, in micro-units
    """

    def __init__(self, run: Playing, scenario: Scenario, balances: Callable[[int], int]) -> None:
        self._run, self._late_s = run, scenario.late_s
        self._line = None if scenario.suspend_below is None else micro(scenario.suspend_below)
        self._balances = balances
        self._left: dict[int, int] = {}
        self._told_ns: dict[bytes, int] = {}
        self._ahead: dict[int, tuple[int, PersonaCounts]] = {}
        """When accounts were last told that we do not see crossed yet, and whom that reached."""
        self.crossings: dict[int, AccountCrossing] = {}
        self.personas: dict[Obeys, PersonaCounts] = {}

    def pushed(self, message: DiameterCommand, now_ns: int) -> None:
        """A RAR or ASR came, and was answered."""
        if not isinstance(message, ReAuthRequest | AbortSessionRequest):
            return
        found = self._run.open.get(message.session_id.encode())
        if found is None:
            return
        session, link = found
        ends, persona = isinstance(message, AbortSessionRequest), session.role.play.obeys
        counts = self.personas.setdefault(persona, PersonaCounts())
        counts.reports, counts.ends = counts.reports + (not ends), counts.ends + ends
        account = session.subscriber.account
        crossing = self.crossings.get(account)
        if crossing is None:
            self._ahead[account] = now_ns, counts
        elif not crossing.was_told:
            crossing.told(counts, now_ns)
        self._told_ns.setdefault(session.id, now_ns)
        if persona == "at_once":
            self._obey(session, link, ends)
        elif persona == "late":
            asyncio.get_running_loop().call_later(self._late_s, self._obey, session, link, ends)

    def _obey(self, session: LoadSession, link: LoadConnection, ends: bool) -> None:
        if ends:
            session.finish()
        self._run.hurry(session, link)

    def answered(self, session: LoadSession, request: Request, due: int, now_ns: int) -> None:
        """The session has taken note of an answer, and `due` more micro-units are owed."""
        persona = session.role.play.obeys
        if (told_ns := self._told_ns.pop(session.id, None)) is not None:
            self.personas[persona].obeyed_us.record_value(max(1, (now_ns - told_ns) // 1_000))
        if self._line is None:
            return
        account = session.subscriber.account
        crossing = self.crossings.get(account)
        if crossing is not None:
            crossing.used += due
            self.personas.setdefault(persona, PersonaCounts()).used += due
            if request.sent_ns < crossing.at_ns:
                crossing.bound += session.due_if_all()
            return
        left = self._left[account] = self._left.get(account, self._balances(account)) - due
        if left < self._line:
            crossing = self.crossings[account] = AccountCrossing(now_ns)
            others = [one for one, _ in self._run.open.values() if one.subscriber.account == account]
            crossing.bound = sum(one.due_if_all() for one in others)
            told_ns, counts = self._ahead.pop(account, (0, None))
            if counts is not None and now_ns - told_ns < AHEAD_NS:
                crossing.told(counts, now_ns)

    def sums(self) -> ObedienceSums:
        waiting = {session.subscriber.account for session, _ in self._run.open.values()}
        crossings = self.crossings
        return ObedienceSums(
            accounts=len(crossings),
            told=sum(one.was_told for one in crossings.values()),
            silent=sum(not one.was_told and account in waiting for account, one in crossings.items()),
            used=sum(one.used for one in crossings.values()),
            bound=sum(one.bound for one in crossings.values()),
            beyond=sum(one.used > one.bound for one in crossings.values()),
        )
