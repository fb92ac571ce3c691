"""A BRAS against the real server: loss, repeats, packets that overtake each other, reboots, CoA and Disconnect. And the
audit finds what the server charged beyond what the BRAS knows of, and what it did not charge."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from loadtest.api import Api
from loadtest.audit import Audit, AuditVerdict
from loadtest.bras.provision import BrasProvision
from loadtest.bras.run import BrasRun
from loadtest.bras.scenario import BrasScenario, load
from loadtest.bras.session import bras_subscriber
from loadtest.bras.wire import RadiusTarget
from loadtest.pricing import LoadPrice
from loadtest.provision import account_of
from protocol.radius.dictionary.values import AcctStatusType
from tests.bench.server import free_ports, running
from tests.drills.nas import SECRET, NasPort

pytestmark = pytest.mark.serial

HELD_S_MAX = 90.0


class Played(NamedTuple):
    run: BrasRun
    audit: Audit
    acct: int

    async def verdict(self) -> AuditVerdict:
        return await self.audit.after(self.run.dues.micro, self.run.dues.left_open)


@asynccontextmanager
async def played(scenario: BrasScenario) -> AsyncIterator[Played]:
    """The scenario, to the end of all its sessions, with the server still there."""
    auth, acct, coa = free_ports(3)
    client = f'{{address="127.0.0.0/8", secret="testing123", group="bras", interim_s=60, coa="127.0.0.1:{coa}"}}'
    listens = (f"radius.auth_listen=127.0.0.1:{auth}", f"radius.acct_listen=127.0.0.1:{acct}")
    async with (
        running(*listens, f"radius.clients=[{client}]", "workers=2") as server,
        Api(server.url, server.token) as api,
    ):
        provision = BrasProvision(api, scenario)
        await provision.run()
        audit = Audit(api, [account_of(scenario, index) for index in range(provision.accounts)])
        await audit.before()
        run = BrasRun(RadiusTarget("127.0.0.1", auth, acct, SECRET), scenario, seed=5)
        await run.open(("127.0.0.1", coa))
        try:
            await run.play()
            await run.finish()
            assert await audit.released(HELD_S_MAX)
            yield Played(run, audit, acct)
        finally:
            await run.close()


def small(name: str, **overrides: object) -> BrasScenario:
    return load(name, **{"subscribers": 40, "sessions": 30, "rate": 60.0, "duration_s": 10.0, **overrides})


async def test_a_rough_network_is_charged_to_the_micro_unit_and_a_session_reported_twice_is_found() -> None:
    # Sessions near the speed of their port, for long enough that counters pass 4 GiB also on a busy machine.
    passing = {"speed_mbps": (6_000.0, 9_000.0), "duration_s": 14.0}
    async with played(small("rough", loss=0.03, repeat=0.2, reorder=0.2, reboots=0, **passing)) as found:
        run, counts = found.run, found.run.network.counts
        verdict = await found.verdict()
        assert verdict.holds, verdict.faults
        assert verdict.due == verdict.debited == verdict.entered > 0
        assert run.peak_octets > 2**32
        assert all((counts.resent, counts.repeated, counts.delayed))
        assert not any((counts.unreadable, counts.unsigned, run.wrong_logins))
        assert {
            "PAP: Access-accept",
            "CHAP: Access-accept",
            "Start",
            "Interim-update",
            "Stop",
        } <= run.total.results.keys()

        twice = await NasPort.open(bras_subscriber(3).user, found.acct)  # a session of it once more, by another name
        await twice.account(found.acct, AcctStatusType.STOP, "another", 60, 5_000_000)
        twice.close()
        verdict = await found.verdict()
        assert not verdict.holds
        assert verdict.wrong == 1
        assert "bras-EUR-1-0000003: due " in verdict.faults[0], verdict.faults


async def test_nases_that_reboot_are_charged_to_the_micro_unit_and_a_reboot_that_is_not_said_is_found() -> None:
    """Half of the sessions have no Class, so that only Accounting-On tells those of before from those of after."""
    rebooting = {"strangers": 0.5, "reboots": 4, "down_s": 1.0, "wrong_passwords": 0.0}
    async with played(small("rough", **rebooting)) as found:
        verdict, run = await found.verdict(), found.run
        assert verdict.holds, verdict.faults
        assert run.reboots >= 3
        price, micro = LoadPrice(run.scenario.price.price, run.scenario.price.block), run.dues.micro
        micro[3] += await twice_counted(found.acct, says_so=True, price=price)
        verdict = await found.verdict()
        assert verdict.holds, verdict.faults
        micro[4] += await twice_counted(found.acct, says_so=False, price=price)
        verdict = await found.verdict()
        assert not verdict.holds
        assert verdict.wrong == 1
        assert "bras-EUR-1-0000004: due " in verdict.faults[0], verdict.faults


async def twice_counted(acct: int, *, says_so: bool, price: LoadPrice) -> int:
    """A session of subscriber 3 (4 where the NAS does not say that it rebooted), and another one under its id half a
    minute later. What both cost."""
    port, now_s = await NasPort.open(bras_subscriber(3 if says_so else 4).user, acct), int(time.time())

    async def send(status: AcctStatusType, ago_s: int, lasted_s: int, octets: int) -> None:
        own = {"NAS_Identifier": f"says-{says_so}", "Event_Timestamp": now_s - ago_s}
        await port.account(acct, status, "0001", lasted_s, octets, **own)

    await send(AcctStatusType.START, 40, 0, 0)
    await send(AcctStatusType.INTERIM_UPDATE, 30, 10, 9_000_000)
    if says_so:
        await send(AcctStatusType.ACCOUNTING_ON, 15, 0, 0)
    await send(AcctStatusType.START, 10, 0, 0)
    await send(AcctStatusType.STOP, 1, 9, 5_000_000)
    port.close()
    return price.cost(9_000_000) + price.cost(5_000_000)


async def test_the_bras_is_told_and_still_every_octet_is_charged() -> None:
    async with played(small("suspend", duration_s=15.0, sessions=40, balance="5.00", suspend_below="3.00")) as found:
        verdict, told = await found.verdict(), found.run.dynamic
        assert verdict.holds, verdict.faults
        assert told.coas + told.disconnects > 0
        assert told.answers["Disconnect-ACK"] + told.answers["CoA-ACK"] > 0
        assert not told.unproven
