"""Who is told, who obeys, and what is used after an account has crossed its line: against a server that tells, one that
does not, and one that goes on granting."""

import asyncio
from typing import Any

import msgspec
import pytest

from loadtest.link import LoadConnection
from loadtest.obedience import Obedience
from loadtest.report import obedience_tree
from loadtest.runner import LoadRun
from loadtest.scenario import Obeys, Scenario, load
from loadtest.subscriber import LoadSession, Role, subscriber
from protocol.diameter.dictionary.base import AbortSessionRequest, ReAuthRequestType
from protocol.diameter.dictionary.credit_control import CcRequestType, ReAuthRequest
from protocol.diameter.message import DiameterCommand
from tests.loadtest.fake import Fake
from tests.loadtest.test_audit import run


def spending(**overrides: object) -> Scenario:
    """Few accounts with many sessions that report seldom, so that others cross the line for them."""
    return load(
        "threshold",
        **{"subscribers": 60, "accounts_shared_by": 20, "rate": 300, "duration_s": 3, "late_s": 0.2, **overrides},
    )


async def played(fake: Fake, scenario: Scenario) -> LoadRun:
    verdict, load_run = await run(fake, scenario)
    assert verdict.holds, verdict.faults
    return load_run


async def test_a_server_that_tells_is_seen_to_tell(fake: Fake) -> None:
    fake.suspend_below, fake.tells = 2_000_000, True
    load_run = await played(fake, spending())
    sums, personas = load_run.obedience.sums(), load_run.obedience.personas
    assert sums.accounts == 3
    assert sums.told == 3
    assert sums.beyond == sums.silent == 0
    assert 0 < sums.used <= sums.bound
    assert any(counts.reports for counts in personas.values())
    assert sum(counts.told_us.get_total_count() for counts in personas.values()) == 3
    assert sums.used == sum(counts.used for counts in personas.values())
    assert obedience_tree(load_run.obedience)["personas"]["late"]["rar"] == personas["late"].reports


class OneSession:
    """A run of one session that only notes who was hurried."""

    def __init__(self, obeys: Obeys) -> None:
        scenario = spending()
        play = msgspec.structs.replace(scenario.plays[0], obeys=obeys)
        role = Role(scenario, play, host="h", realm="r", destination="r")
        self.session = LoadSession(role, subscriber(0), b"h;1;1", updates=3)
        self.session.phase = CcRequestType.UPDATE_REQUEST
        link: Any = None
        self.open: dict[bytes, tuple[LoadSession, LoadConnection]] = {self.session.id: (self.session, link)}
        self.hurried = asyncio.Event()
        self.obedience = Obedience(self, scenario, lambda _account: 10**9)

    def hurry(self, session: LoadSession, link: LoadConnection) -> None:
        assert session is self.session
        self.hurried.set()

    def told(self, request: type[DiameterCommand]) -> None:
        more = {"re_auth_request_type": ReAuthRequestType.AUTHORIZE_ONLY} if request is ReAuthRequest else {}
        where = {"origin_host": "o", "origin_realm": "r", "destination_realm": "r", "destination_host": "h"}
        members: dict[str, Any] = {"session_id": "h;1;1", "auth_application_id": 4, **where, **more}
        self.obedience.pushed(request(**members), 1)

    def next(self) -> CcRequestType | None:
        return self.session.phase


async def test_one_that_obeys_reports_when_it_is_told() -> None:
    run = OneSession("at_once")
    run.told(ReAuthRequest)
    assert run.hurried.is_set()
    assert run.next() == CcRequestType.UPDATE_REQUEST
    run.told(AbortSessionRequest)
    assert run.next() == CcRequestType.TERMINATION_REQUEST


async def test_one_that_obeys_late_is_late() -> None:
    run = OneSession("late")
    run.told(AbortSessionRequest)
    assert not run.hurried.is_set()
    assert run.next() == CcRequestType.UPDATE_REQUEST
    await asyncio.wait_for(run.hurried.wait(), 30)
    assert run.next() == CcRequestType.TERMINATION_REQUEST


async def test_one_that_ignores_goes_on() -> None:
    run = OneSession("never")
    run.told(ReAuthRequest)
    run.told(AbortSessionRequest)
    assert (run.obedience.personas["never"].reports, run.obedience.personas["never"].ends) == (1, 1)
    await asyncio.sleep(0)
    assert not run.hurried.is_set()
    assert run.next() == CcRequestType.UPDATE_REQUEST


async def test_a_server_that_tells_nobody_is_seen_to_be_silent(fake: Fake) -> None:
    fake.suspend_below = 2_000_000
    load_run = await played(fake, spending())
    sums = load_run.obedience.sums()
    assert (sums.accounts, sums.told, sums.beyond) == (3, 0, 0)
    assert load_run.client.counts.reauths == 0


async def test_a_server_that_grants_below_the_line_is_found_out(fake: Fake) -> None:
    load_run = await played(fake, spending())
    assert load_run.obedience.sums().beyond == 3


async def test_without_a_line_nothing_crosses(fake: Fake) -> None:
    load_run = await played(fake, msgspec.structs.replace(spending(), suspend_below=None))
    assert load_run.obedience.sums().accounts == 0


def test_a_line_at_the_balance_is_refused() -> None:
    with pytest.raises(Exception, match="suspend_below"):
        load("threshold", suspend_below="2.50")
