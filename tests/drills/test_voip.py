"""Voice gateways with prepaid calls against the real server: both steps, both legs, loss, repeats, packets that
overtake each other. And the audit finds a call that is charged and not known, and one that is known and not charged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from loadtest.api import Api
from loadtest.audit import Audit, AuditVerdict
from loadtest.bras.wire import RadiusTarget
from loadtest.provision import account_of
from loadtest.voip.call import caller
from loadtest.voip.performance import overspent
from loadtest.voip.provision import VoipProvision
from loadtest.voip.run import VoipRun
from loadtest.voip.scenario import VoipScenario, load
from protocol.radius.dictionary.values import AcctStatusType
from tests.bench.server import free_ports, running
from tests.drills.nas import SECRET, NasPort

pytestmark = pytest.mark.serial


class PlayedCalls(NamedTuple):
    run: VoipRun
    audit: Audit
    acct: int

    async def verdict(self) -> AuditVerdict:
        return await self.audit.after(self.run.dues.micro, self.run.dues.left_open)


@asynccontextmanager
async def played(scenario: VoipScenario) -> AsyncIterator[PlayedCalls]:
    """The scenario, to the end of all its calls, with the server still there."""
    auth, acct = free_ports(2)
    client = '{address="127.0.0.0/8", secret="testing123", group="gw", service="voice", profile="cisco-voice"'
    client += f', charged_leg="{scenario.charged_leg}"}}'
    listens = (f"radius.auth_listen=127.0.0.1:{auth}", f"radius.acct_listen=127.0.0.1:{acct}")
    async with (
        running(*listens, f"radius.clients=[{client}]", "workers=2") as server,
        Api(server.url, server.token) as api,
    ):
        provision = VoipProvision(api, scenario)
        await provision.run()
        audit = Audit(api, [account_of(scenario, index) for index in range(provision.accounts)])
        await audit.before()
        run = VoipRun(RadiusTarget("127.0.0.1", auth, acct, SECRET), scenario, seed=5)
        await run.open()
        try:
            await run.play()
            await run.finish()
            yield PlayedCalls(run, audit, acct)
        finally:
            await run.close()


def small(name: str, **overrides: object) -> VoipScenario:
    return load(name, **{"subscribers": 60, "calls": 40, "rate": 80.0, "duration_s": 8.0, **overrides})


async def test_calls_are_charged_by_their_longest_leg_and_one_reported_twice_is_found() -> None:
    scenario = small("calls", charged_leg="any", repeat=0.2, reorder=0.2)
    async with played(scenario) as found:
        run, counts = found.run, found.run.network.counts
        verdict = await found.verdict()
        assert verdict.holds, verdict.faults
        assert verdict.due == verdict.debited == verdict.entered > 0
        assert not any((verdict.held, run.wrong, counts.unreadable, counts.unsigned))
        assert all((counts.resent, counts.repeated, counts.delayed))

        port = await NasPort.open(caller(3).user, found.acct)  # a call of it by another name
        await port.account(
            found.acct, AcctStatusType.STOP, "another", 30, 0, Called_Station_Id="442071234567", h323_conf_id="A1"
        )
        port.close()
        verdict = await found.verdict()
        assert verdict.wrong == 1
        assert "voip-EUR-1-0000003: due " in verdict.faults[0], verdict.faults


async def test_callers_of_one_account_are_never_told_the_same_money_and_a_call_not_charged_is_found() -> None:
    async with played(small("scarce", rate=100.0, balance="0.10")) as found:  # for a minute, of three callers
        run, verdict = found.run, await found.verdict()
        assert verdict.holds, verdict.faults
        assert not any((verdict.held, run.wrong, overspent(run, found.audit)))
        assert run.cut > 0, "money was short"
        run.dues.micro[2] += 1  # of a call that the server never heard of
        assert (await found.verdict()).wrong == 1
        run.dues.micro[2] += found.audit.balance_before(2)
        assert overspent(run, found.audit)
