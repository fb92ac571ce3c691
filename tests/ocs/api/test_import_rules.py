"""What an import does is what the same calls do one by one: accounts, subscribers, balances, entries and their sums.

Random files, with lines that contradict each other and what is there. Which lines go in is decided a second time here,
from charging.md 14 alone; those are made a second time through the other operations, under names of their own, and both
are compared as the API shows them.
"""

import itertools
import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balances.ledger.verify import verify
from ocs.api import import_file
from tests.ocs.api.imports import errors, imported
from tests.ocs.api_harness import ApiHarness

PLACES = range(3)
RUNS = itertools.count(1)

buckets = st.lists(
    st.fixed_dictionaries(
        {
            "amount": st.sampled_from(["1", "7", "1000"]),
            "kind": st.sampled_from(["money", "octets", "seconds", "units"]),
        },
        optional={
            "name": st.sampled_from(["welcome"]),
            "priority": st.sampled_from([1, 200]),
            "scope": st.sampled_from([["data"], []]),
            "valid_until": st.sampled_from(["2090-01-01T00:00:00Z", "2080-01-01T00:00:00Z"]),
        },
    ),
    max_size=3,
)
accounts = st.fixed_dictionaries(
    {"id": st.sampled_from(PLACES), "currency": st.sampled_from(["EUR", "EUR", "EUR", "USD"])},
    optional={
        "balance": st.sampled_from(["0.00", "1.25", "20.00"]),
        "credit_limit": st.sampled_from(["0.00", "5.00"]),
        "suspend_below": st.sampled_from(["1.00", "-1.00"]),
        "time_zone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "buckets": buckets,
    },
)
subscribers = st.fixed_dictionaries(
    {"id": st.sampled_from(PLACES), "account": st.sampled_from(PLACES)},
    optional={
        "identities": st.lists(st.sampled_from(PLACES), max_size=2, unique=True),
        "tariffs": st.sampled_from([[], [{"tariff": "flat"}], [{"tariff": "flat"}, {"tariff": "none"}]]),
        "barred": st.booleans(),
        "attributes": st.sampled_from([{}, {"segment": "gold"}]),
    },
)
lines = st.fixed_dictionaries({}, optional={"account": accounts, "subscriber": subscribers})
Line = dict[str, Any]


def named(line: Line, prefix: str) -> Line:
    """With names of this side."""
    found: Line = {part: dict(fields) for part, fields in line.items()}
    if "account" in found:
        found["account"]["id"] = f"{prefix}a{line['account']['id']}"
    if "subscriber" in found:
        found["subscriber"]["id"] = f"{prefix}s{line['subscriber']['id']}"
        found["subscriber"]["account"] = f"{prefix}a{line['subscriber']['account']}"
        if "identities" in found["subscriber"]:
            of = line["subscriber"]["identities"]
            found["subscriber"]["identities"] = [f"username:{prefix}{number}" for number in of]
    return found


ACCOUNT: Line = {
    "currency": "EUR",
    "balance": "0.00",
    "credit_limit": "0.00",
    "suspend_below": None,
    "time_zone": "UTC",
    "buckets": [],
}
SUBSCRIBER: Line = {"account": None, "identities": [], "tariffs": [], "barred": False, "attributes": {}}
BUCKET: Line = {"name": "", "priority": 50, "scope": [], "valid_until": None}


class Rules:
    """Which lines go in."""

    def __init__(self) -> None:
        self.accounts: dict[int, Line] = {}
        self.subscribers: dict[int, Line] = {}
        self.owners: dict[int, int] = {}

    def goes_in(self, line: Line) -> bool:
        account, subscriber = line.get("account"), line.get("subscriber")
        if account is None and subscriber is None:
            return False
        if account is not None and not self._agrees(self.accounts, account, ACCOUNT):
            return False
        if subscriber is not None:
            pays = subscriber["account"]
            if pays not in self.accounts and (account is None or account["id"] != pays):
                return False
            if subscriber["id"] in self.subscribers:
                if not self._agrees(self.subscribers, subscriber, SUBSCRIBER):
                    return False
            elif any(
                self.owners.get(of, subscriber["id"]) != subscriber["id"] for of in subscriber.get("identities", ())
            ) or {"tariff": "none"} in subscriber.get("tariffs", ()):
                return False
        if account is not None:
            self.accounts.setdefault(account["id"], self._whole(account, ACCOUNT))
        if subscriber is not None and subscriber["id"] not in self.subscribers:
            self.subscribers[subscriber["id"]] = self._whole(subscriber, SUBSCRIBER)
            self.owners |= dict.fromkeys(subscriber.get("identities", ()), subscriber["id"])
        return True

    def _agrees(self, there: dict[int, Line], said: Line, defaults: Line) -> bool:
        if said["id"] not in there:
            return True
        known, whole = there[said["id"]], self._whole(said, defaults)
        return all(known[name] == whole[name] for name in said)

    @staticmethod
    def _whole(said: Line, defaults: Line) -> Line:
        whole = defaults | said
        if "buckets" in whole:
            whole["buckets"] = [BUCKET | bucket for bucket in whole["buckets"]]
        if "identities" in whole:
            whole["identities"] = sorted(whole["identities"])
        return whole


async def one_by_one(harness: ApiHarness, line: Line) -> None:
    """The same through the operations for one account and one subscriber; what is there stays."""
    if "account" in line:
        about = dict(line["account"])
        name, balance, more = about.pop("id"), about.pop("balance", "0"), about.pop("buckets", [])
        if (await harness.call("GET", f"/v1/accounts/{name}")).status_code == 404:
            await harness.account(name, **about)
            if Fraction(balance):
                assert (await harness.top_up(balance, name)).status_code == 201
            for bucket in more:
                made = await harness.top_up(account=name, **({"priority": 50} | bucket))
                assert made.status_code == 201, made.text
    if "subscriber" in line:
        about = {"identities": [], "tariffs": []} | line["subscriber"]
        name = about.pop("id")
        if (await harness.call("GET", f"/v1/subscribers/{name}")).status_code == 404:
            assert (await harness.call("PUT", f"/v1/subscribers/{name}", about)).status_code == 201


async def shown(harness: ApiHarness, prefix: str) -> dict[str, Any]:
    """Everything that the API says of one side, without what names the side and the moment."""
    found: dict[str, Any] = {}
    for place in PLACES:
        for path in (f"accounts/{prefix}a{place}", f"subscribers/{prefix}s{place}"):
            answer = await harness.call("GET", f"/v1/{path}")
            if answer.status_code != 404:
                found[path] = answer.json() | dict.fromkeys(("created", "activated", "version"))
        ledger = await harness.call("GET", f"/v1/accounts/{prefix}a{place}/ledger")
        found[f"ledger {place}"] = [
            {name: entry[name] for name in ("seq", "bucket", "kind", "amount", "balance_after", "net", "tax")}
            for entry in ledger.json().get("items", ())
        ]
    return dict(json.loads(json.dumps(found).replace(prefix, "")))


@pytest.fixture
async def harness(harness: ApiHarness) -> ApiHarness:
    await harness.tariff()
    return harness


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.lists(lines, min_size=1, max_size=8), batch=st.integers(1, 8))
async def test_an_import_is_what_the_same_calls_come_to(harness: ApiHarness, file: list[Line], batch: int) -> None:
    run, rules = next(RUNS), Rules()
    inside, outside = f"in{run:04d}-", f"by{run:04d}-"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_file, "BATCH_LINES", batch)
        checked = await imported(harness, [named(line, inside) for line in file], "?check=true")
        done = await imported(harness, [named(line, inside) for line in file])
    refused = {event["line"] for event in errors(done)}
    assert refused == {at for at, line in enumerate(file, 1) if not rules.goes_in(line)}
    assert errors(checked) == errors(done)
    for at, line in enumerate(file, 1):
        if at not in refused:
            await one_by_one(harness, named(line, outside))
    await harness.sync()
    made = await shown(harness, outside)
    assert await shown(harness, inside) == made
    if not refused:  # a line that came too early would go in now
        again = await imported(harness, [named(line, inside) for line in file])
        assert again[-1]["accounts_created"] == again[-1]["subscribers_created"] == 0
        assert await shown(harness, inside) == made
    sums = await harness.pool.fetch(
        "SELECT left(account, 2) AS side, kind, currency, sum(amount)::text AS amount FROM ledger_entries"
        " WHERE account LIKE $1 OR account LIKE $2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        f"{inside}%",
        f"{outside}%",
    )
    sides = {side: [tuple(row)[1:] for row in sums if row["side"] == side] for side in ("in", "by")}
    assert sides["in"] == sides["by"]
    report = await verify(harness.redis, harness.pool)
    assert report.sound, report.lines()
