"""Our own accounts, subscribers and tariff, made through the API. Run twice, it changes nothing the second time."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import msgspec

from loadtest.api import Api, ApiError, HttpReply
from loadtest.pricing import micro, text
from loadtest.scenario import ScenarioPrice
from loadtest.subscriber import subscriber

T = TypeVar("T")

AT_ONCE = 16
PIECE = 5_000
"""Subscribers of one import; two are under way."""
PER = {"octets": "octets", "seconds": "s", "units": "units"}


class Provisioned(Protocol):
    """What a scenario of any protocol says of those that have to be there."""

    @property
    def prefix(self) -> str: ...
    @property
    def prices(self) -> Sequence[ScenarioPrice]: ...
    @property
    def currency(self) -> str: ...
    @property
    def subscribers(self) -> int: ...
    @property
    def accounts_shared_by(self) -> int: ...
    @property
    def balance(self) -> str: ...
    @property
    def suspend_below(self) -> str | None: ...


class Payee(Protocol):
    """A subscriber, by its number and that of the account that pays."""

    @property
    def place(self) -> int: ...
    @property
    def account(self) -> int: ...


def tariff(scenario: Provisioned) -> dict[str, Any]:
    """The scenario's price list as a tariff document. Its name is that of its content: two lists never mix."""
    rows = []
    for row in sorted(
        scenario.prices, key=lambda row: row.rating_group is None
    ):  # the first that matches prices a line
        when: dict[str, object] = {"service": row.service}
        if row.rating_group is not None:
            when["rating_group"] = row.rating_group
        price = {"flat": {"price": row.price, "per": f"{row.block} {PER[row.unit]}"}}
        free = {"free": {"unit": row.unit}}
        name = f"{row.service}-{'any' if row.rating_group is None else row.rating_group}"
        rows.append({"name": name, "when": when, **(price if Fraction(row.price) else free)})
    content = {"currency": scenario.currency, "rows": rows}
    return {"tariff": f"load-{zlib.crc32(msgspec.json.encode(content)):08x}", **content}


def account_of(scenario: Provisioned, index: int) -> str:
    """The id of account number `index`."""
    line = "" if scenario.suspend_below is None else f"below-{scenario.suspend_below}-"
    return f"{scenario.prefix}-{scenario.currency}-{scenario.accounts_shared_by}-{line}{index:07d}"


class Provision:
    """Creates what a scenario needs; `done` and `total` are for a progress bar. `identified` says how its subscribers
    are known, where that is not by MSISDN and IMSI."""

    def __init__(self, api: Api, scenario: Provisioned) -> None:
        self._api, self._scenario = api, scenario
        self._tariff = tariff(scenario)
        self._run = uuid4().hex
        self.accounts = -(-scenario.subscribers // scenario.accounts_shared_by)
        self.done, self.total = 0, self.accounts + scenario.subscribers

    async def run(self) -> None:
        name = self._tariff["tariff"]
        if await self._api.find("v1", "tariffs", name) is None:
            await self._api.put("v1", "tariffs", name, body=self._tariff)
        shared_by, last = self._scenario.accounts_shared_by, self._scenario.subscribers
        piece = -(-PIECE // shared_by) * shared_by  # an account is in one of them
        await in_parallel(self._import, (range(at, min(at + piece, last)) for at in range(0, last, piece)), at_once=2)

    async def _import(self, numbers: range) -> None:
        """Those that are new are made at once; where some were there already, each is looked at."""
        people = [self.payee(number) for number in numbers]
        *_, done = await self._api.post_lines("v1", "import", lines=self._lines(people), errors=0)
        if done["event"] != "done":
            raise ApiError(f"/v1/import: {done['detail']}")
        if not done["errors"] and not done["accounts_unchanged"]:
            self.done += done["accounts_created"] + done["subscribers_created"]
            return
        await in_parallel(self._account, dict.fromkeys(who.account for who in people))
        await in_parallel(self._subscriber, people)

    def _lines(self, people: Iterable[Payee]) -> Iterable[dict[str, Any]]:
        """An account stands in the line of its first subscriber."""
        seen = -1
        for who in people:
            line: dict[str, Any] = {"subscriber": {"id": self._name(who), **self._wanted(who)}}
            if who.account != seen:
                seen, name = who.account, account_of(self._scenario, who.account)
                currency, balance = self._scenario.currency, self._scenario.balance
                line["account"] = {
                    "id": name,
                    "currency": currency,
                    "balance": text(micro(balance)),
                    **self._settings(),
                }
            yield line

    def _settings(self) -> dict[str, str]:
        line = self._scenario.suspend_below
        return {} if line is None else {"suspend_below": line}

    def payee(self, number: int) -> Payee:
        return subscriber(number, self._scenario.accounts_shared_by)

    def identified(self, who: Payee) -> dict[str, Any]:
        """Members of the subscriber by which it is known."""
        msisdn, imsi = (identity.decode() for identity in subscriber(who.place).identities)
        return {"identities": [f"msisdn:{msisdn}", f"imsi:{imsi}"]}

    def _name(self, who: Payee) -> str:
        return f"{self._scenario.prefix}-{who.place:07d}"

    def _wanted(self, who: Payee) -> dict[str, Any]:
        return {
            "account": account_of(self._scenario, who.account),
            **self.identified(who),
            "tariffs": [{"tariff": self._tariff["tariff"]}],
        }

    async def _account(self, index: int) -> None:
        """There, and filled up to the balance of the scenario."""
        name, wanted = account_of(self._scenario, index), micro(self._scenario.balance)
        found = await self._api.find("v1", "accounts", name)
        if found is None:
            settings = {"currency": self._scenario.currency, **self._settings()}
            await self._api.put("v1", "accounts", name, body=settings)
            balance = 0
        else:
            balance = micro(found.body["balance"])
        if balance < wanted:
            body = {"amount": text(wanted - balance), "reference": "load test"}
            await self._api.post("v1", "accounts", name, "topups", body=body, key=f"load-{self._run}-{index}")
        self.done += 1

    async def _subscriber(self, who: Payee) -> None:
        name = self._name(who)
        body = self._wanted(who)
        found = await self._api.find("v1", "subscribers", name)
        if found is None:
            await self._api.put("v1", "subscribers", name, body=body)
        elif not _agrees(found, body):
            await self._api.put("v1", "subscribers", name, body=body, match=found.headers.get("etag"))
        self.done += 1


def _agrees(found: HttpReply, wanted: dict[str, Any]) -> bool:
    tariffs = [one["tariff"] for one in found.body["tariffs"]]
    same_account = found.body["account"] == wanted["account"]
    return same_account and tariffs == [wanted["tariffs"][0]["tariff"]]


async def in_parallel(work: Callable[[T], Awaitable[None]], items: Iterable[T], at_once: int = AT_ONCE) -> None:
    """All of them, a few at a time; the first failure ends it."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as failures:
        for failure in failures.exceptions:
            if isinstance(failure, ApiError):
                raise failure from None
        raise
