"""The whole tool against a server that is right, and against servers that are wrong in one place each."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from loadtest.api import Api
from loadtest.audit import Audit, AuditVerdict
from loadtest.client import LoadClient
from loadtest.faults import FaultPlan, PlantedFaults
from loadtest.link import Target
from loadtest.provision import Provision, account_of
from loadtest.runner import LoadRun
from loadtest.scenario import Scenario, load
from tests.loadtest.fake import Fake

NONE = FaultPlan()
Arrange = Callable[[Fake], None]


async def run(
    fake: Fake, scenario: Scenario, plan: FaultPlan = NONE, *, wait_s: float = 5.0
) -> tuple[AuditVerdict, LoadRun]:
    async with Api(f"http://127.0.0.1:{fake.http_port}", "secret", connections=4) as api:
        await Provision(api, scenario).run()
        accounts = Provision(api, scenario).accounts
        audit = Audit(api, [account_of(scenario, index) for index in range(accounts)])
        await audit.before()
        client = LoadClient(Target("127.0.0.1", fake.diameter_port), connections=2, timeout_s=scenario.timeout_s)
        await client.start()
        load_run = LoadRun(client, scenario, seed=7)
        if any(plan):
            load_run.faults = PlantedFaults(client, plan, load_run.rng)
        await load_run.pace(scenario.rate, scenario.pacing, scenario.duration_s)
        await load_run.finish(wait_s)
        verdict = await audit.after(load_run.dues.micro, load_run.dues.left_open)
        await client.stop()
        return verdict, load_run


def small(name: str = "mixed", **overrides: object) -> Scenario:
    return load(name, **{"subscribers": 12, "rate": 800, "duration_s": 0.6, "timeout_s": 0.4, **overrides})


@pytest.mark.parametrize("name", ["mixed", "data", "scarce"])
async def test_an_honest_server_holds(fake: Fake, name: str) -> None:
    verdict, load_run = await run(fake, small(name))
    assert verdict.holds, verdict.faults
    assert verdict.due == verdict.debited == verdict.entered > 0
    assert load_run.total.answered >= 200
    assert not load_run.open
    assert {phase.name for phase, _ in load_run.total.results} >= {
        "INITIAL_REQUEST",
        "UPDATE_REQUEST",
        "TERMINATION_REQUEST",
    }


async def test_what_networks_do_is_charged_once(fake: Fake) -> None:
    fake.drop_once = {20, 50, 51, 90}
    fake.too_busy_at = {30, 31, 32, 70}
    verdict, load_run = await run(fake, small(duration_s=1.2), FaultPlan(duplicate=0.2, cut_every_s=0.3))
    assert verdict.holds, verdict.faults
    assert load_run.faults is not None
    assert load_run.faults.duplicates > 20
    assert load_run.faults.cuts >= 1
    assert not load_run.faults.contradictions
    assert load_run.client.counts.resent
    assert fake.repeats > 20


async def test_two_scenarios_one_after_the_other_and_nothing_made_twice(fake: Fake) -> None:
    assert (await run(fake, small("mixed")))[0].holds
    assert (await run(fake, small("mixed")))[0].holds
    assert (await run(fake, small("data")))[0].holds
    assert len(fake.subscribers) == 12
    assert len(fake.tariffs) == 2


def _charge_repeats(fake: Fake) -> None:
    fake.charges_repeats = True


def _overcharge(fake: Fake) -> None:
    fake.overcharge_at = 40


def _forget_entry(fake: Fake) -> None:
    fake.forget_entry_at = 40


def _keep_hold(fake: Fake) -> None:
    fake.held_left = 1


def _never_answer(fake: Fake) -> None:
    fake.lose_answer_of = {60}


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (_charge_repeats, "off by"),
        (_overcharge, "off by 1 micro-units"),
        (_forget_entry, "the ledger has"),
        (_keep_hold, "0.000001 held"),
        (_never_answer, "in doubt"),
    ],
)
async def test_a_server_that_is_wrong_is_found_out(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, arrange: Arrange, words: str
) -> None:
    arrange(fake)
    # No account is so poor that refusals would hide what is looked for.
    verdict, _ = await run(fake, small("mixed", duration_s=0.5), FaultPlan(duplicate=0.1), wait_s=2.0)
    assert not verdict.holds
    assert any(words in fault for fault in verdict.faults), verdict.faults


async def test_entries_that_never_arrive_are_missed(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.audit.LAG_S_MAX", 0.3)
    scenario = small("data", subscribers=1, rate=100)

    def lose() -> None:
        fake.entries[account_of(scenario, 0)].append({"seq": 10_000})

    asyncio.get_running_loop().call_later(0.3, lose)
    real = fake._route

    def route(method: str, target: str, body: object, headers: dict[str, str]) -> tuple[int, dict[str, object]]:
        status, answer = real(method, target, body, headers)
        if "ledger" in target:
            answer = {"items": [row for row in answer["items"] if row["seq"] < 5], "next_after_seq": None}
        return status, answer

    monkeypatch.setattr(fake, "_route", route)
    verdict, _ = await run(fake, scenario)
    assert any("not in the ledger after 0.3 s" in fault for fault in verdict.faults), verdict.faults


async def test_the_document_is_the_price_list(fake: Fake) -> None:
    scenario = load("mixed")
    await run(fake, small(subscribers=1, duration_s=0.05))
    (document,) = fake.tariffs.values()
    assert len(document["rows"]) == len(scenario.prices)
    assert [row["when"] for row in document["rows"]][-2:] == [{"service": "voice"}, {"service": "sms"}]
    assert msgspec.json.encode(document)
