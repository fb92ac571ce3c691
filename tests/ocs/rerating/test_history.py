"""Real charges, copied by the real writer, rated again out of PostgreSQL."""

from __future__ import annotations

from decimal import Decimal
from html.parser import HTMLParser
from random import Random
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from balances.ledger.history import Unreachable, UsageWindow
from ocs.rerating.job import Job, Written
from ocs.rerating.page import page
from ocs.rerating.report import histogram, percent, report
from ocs.rerating.run import JobError, prepare, rate_again
from ocs.rerating.tally import MoneySums, changes_of
from ocs.rerating.tariffs_of_job import NoSuchTariff
from tests.ocs.charging.wire import SMS, E, I, T, U, lines, mscc
from tests.ocs.rerating.network import DAY_MS, Network
from tests.tariffs.traffic import DEBIT, MB, REFUND, random_tariff

FLAT = """
tariff = "flat"
currency = "EUR"
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
when = { service = "sms" }
flat = { price = "0.07", per = "1 message" }
"""


async def customer(network: Network, money: str = "10", subscriber: str = "s1", account: str = "a1") -> None:
    harness = network.harness
    await harness.tariff(FLAT)
    await harness.account(account)
    await harness.top_up(money, account)
    await harness.subscriber(subscriber, account, "msisdn:491700000001", tariffs=[{"tariff": "flat"}])


async def session(network: Network, *used: int, name: str = "gw.example.net;1;1") -> None:
    await network.send(I, session_id=name, **lines(mscc(10, ask={})))
    for number, units in enumerate(used, 1):
        network.now_ms += 60_000
        last = number == len(used)
        asks: dict[str, Any] = {} if last else {"ask": {}}
        use = {"cc_total_octets": units}
        await network.send(
            T if last else U, session_id=name, cc_request_number=number, **lines(mscc(10, used=use, **asks))
        )


def total(money: MoneySums) -> tuple[int, int]:
    return money.total.before, money.total.after


@pytest.mark.parametrize("seed", range(4))
async def test_an_equal_draft_gives_exactly_zero_for_every_subscriber(network: Network, seed: int) -> None:
    text = random_tariff(Random(seed))
    await network.traffic(seed, text)
    for processes in (1, 2):
        tally = await network.again(text, processes)
        assert tally.records > 40
        assert tally.hows[2:] == [0, 0, 0]
        money = tally.money["EUR"]
        assert set(changes_of(money)) == {0}
        assert (money.dearer, money.cheaper, tally.refusals) == ([], [], [])
        assert total(money)[0] == total(money)[1] > 0


async def test_two_processes_give_what_one_gives_and_differences_add_up(network: Network) -> None:
    one, other = random_tariff(Random(1)), random_tariff(Random(2))
    await network.traffic(1, one, steps=120)
    alone, shared = await network.again(other, 1), await network.again(other, 2)
    assert alone.money["EUR"].total.before != alone.money["EUR"].total.after
    for tally in (alone, shared):
        for money in tally.money.values():
            money.changes = changes_of(money).tobytes()
            for parts in (money.services, money.days):
                assert sum(sums.before for sums in parts.values()) == money.total.before
                assert sum(sums.after for sums in parts.values()) == money.total.after
            assert sum(changes_of(money)) == money.total.after - money.total.before
            assert len(changes_of(money)) == 4
            assert sum(one.change for one in (*money.dearer, *money.cheaper)) == sum(changes_of(money))
    assert msgspec.to_builtins(alone) == msgspec.to_builtins(shared)


async def test_in_small_bites_it_is_the_same(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records with several entries, and accounts, are cut anywhere."""
    one, other = random_tariff(Random(5)), random_tariff(Random(6))
    await network.traffic(5, one)
    whole = await network.again(other)
    for rows in (1, 3):
        monkeypatch.setattr("balances.ledger.history.ROWS", rows)
        assert msgspec.to_builtins(await network.again(other)) == msgspec.to_builtins(whole)


async def test_ended_sessions_may_be_forgotten(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    text = random_tariff(Random(8))
    await network.traffic(8, text, steps=120)
    monkeypatch.setattr("balances.ledger.history.ROWS", 5)
    monkeypatch.setattr("tariffs.whatif.replay.LINES_MAX", 1)
    tally = await network.again(text)
    assert (tally.hows[1] > 40, tally.hows[2:]) == (True, [0, 0, 0])


async def test_a_fault_of_the_server_is_said(network: Network) -> None:
    await customer(network)
    await session(network, MB)
    await network.harness.sync()
    await network.harness.pool.execute("ALTER TABLE ladders RENAME TO away")
    with pytest.raises(Unreachable, match="ladders"):
        await network.again(FLAT)
    with pytest.raises(JobError, match="ladders"):
        await network.again(FLAT, processes=2)


async def test_a_window_finds_the_grants_before_it(network: Network) -> None:
    await customer(network)
    await session(network, MB, MB, MB)
    await network.harness.sync()
    window = UsageWindow(network.now_ms, network.now_ms + 1)  # the last report alone
    for text, after in ((FLAT, 10_000), (FLAT.replace("0.01", "0.03"), 30_000)):
        tally = await network.again(text, window=window)
        assert total(tally.money["EUR"]) == (10_000, after)
        assert (tally.records, tally.estimated) == (1, int(text != FLAT))


async def test_only_some(network: Network) -> None:
    await customer(network)
    await session(network, MB)
    await network.send(E, session_id="x;1;1", service_context_id=SMS, requested_action=DEBIT)
    await network.harness.sync()
    window = network.job().window
    for field, value, before in (("service", "sms", 70_000), ("account", "a1", 80_000), ("subscriber", "s1", 80_000)):
        only = msgspec.structs.replace(window, **{field: value})
        assert total((await network.again(FLAT, window=only)).money["EUR"])[0] == before
        nobody = msgspec.structs.replace(window, **{field: "nobody"})
        assert (await network.again(FLAT, window=nobody)).money == {}


async def test_sessions_that_could_not_have_been_paid(network: Network) -> None:
    await customer(network, "0.10")
    await session(network, 5 * MB, name="gw.example.net;1;1")
    await session(network, 3 * MB, name="gw.example.net;2;1")
    await network.harness.sync()
    tally = await network.again(FLAT.replace("0.01", "0.015"))
    assert total(tally.money["EUR"]) == (80_000, 120_000)
    assert tally.money["EUR"].uncovered == 20_000
    (refusal,) = tally.refusals
    assert (refusal.session, refusal.why, refusal.uncovered) == ("gw.example.net;2;1", "no money", 20_000)
    dearer = await network.again(FLAT.replace("0.01", "0.012"))
    assert (dearer.refusals, dearer.money["EUR"].uncovered) == ([], 0)
    limit = await network.harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "credit_limit": "1"}, if_match="*")
    assert limit.status_code == 200
    await network.harness.sync()
    assert (await network.again(FLAT.replace("0.01", "0.015"))).refusals == []


async def test_in_another_currency_the_rate_of_the_day_counts(network: Network) -> None:
    rates = {"rates": [{"of": "USD", "into": "EUR", "rate": "0.9"}]}
    assert (await network.harness.call("PUT", "/v1/exchange-rates/2020-01-01", rates)).status_code == 200
    dollars = FLAT.replace("EUR", "USD")
    await customer(network)
    await network.harness.tariff(dollars)
    await network.open()
    await session(network, MB)
    await network.harness.sync()
    assert total((await network.again(dollars)).money["EUR"]) == (9_000, 9_000)
    assert total((await network.again(FLAT)).money["EUR"]) == (9_000, 10_000)
    rates["rates"][0]["rate"] = "0.8"
    assert (await network.harness.call("PUT", "/v1/exchange-rates/2021-01-01", rates)).status_code == 200
    assert total((await network.again(dollars)).money["EUR"]) == (9_000, 8_000)


async def test_not_sold(network: Network) -> None:
    await customer(network)
    await session(network, MB, MB)
    await network.harness.sync()
    tally = await network.again(FLAT.replace('service = "data"', 'service = "mms"'))
    assert total(tally.money["EUR"]) == (20_000, 0)
    assert tally.refused_sessions == {"no row of the tariff matches": 1}
    assert tally.whys == {"no row of the tariff matches": 2}


async def test_a_refund_by_token_follows_its_event(network: Network) -> None:
    await customer(network)
    sent = await network.send(
        E, session_id="x;1;1", service_context_id=SMS, requested_action=DEBIT, **lines(mscc(None, ask={}))
    )
    token = sent.multiple_services_credit_control[0].refund_information
    await network.send(
        E,
        session_id="y;1;2",
        service_context_id=SMS,
        requested_action=REFUND,
        **lines(mscc(None, refund_information=token)),
    )
    await network.harness.sync()
    tally = await network.again(FLAT.replace("0.07", "0.10"))
    assert total(tally.money["EUR"]) == (0, 0)
    assert tally.hows[2] == 2


async def test_files_of_a_draft_and_promotions_come_from_the_server(network: Network) -> None:
    harness = network.harness
    zones = '[[rows]]\nwhen = { service = "data", to = "world" }\nflat = { price = "to.price", per = "1 MB" }\n'
    text = f'tariff = "flat"\ncurrency = "EUR"\n[tables]\nworld = "world.csv"\n{zones}' + FLAT.partition('"EUR"\n')[2]
    await customer(network)
    bundle = {
        "files": [{"name": "world.csv", "media_type": "text/csv", "content": "prefix,zone,price\n49,home,0.02\n"}],
        "tariffs": [{"media_type": "application/toml", "document": text, "if_version": 1}],
    }
    done = await harness.call("POST", "/v1/tariffs", bundle, idempotency_key="k")
    assert done.status_code == 200, done.text
    await session(network, MB)
    await harness.sync()
    job = network.job(text)
    with pytest.raises(NoSuchTariff, match=r"world\.csv"):
        await rate_again(job, lambda records: None, 1)
    with pytest.raises(JobError, match=r"world\.csv"):
        await rate_again(job, lambda records: None, 2)
    ready = await prepare(job)
    assert (ready.tariff, ready.job.written and list(ready.job.written.files)) == ("flat", ["world.csv"])
    tally = await rate_again(ready.job, lambda records: None, 1)
    assert total(tally.money["EUR"]) == (10_000, 10_000)
    stored = await network.again(stored=("flat", 2))
    assert stored.hows == tally.hows
    with pytest.raises(NoSuchTariff, match="no tariff flat in version 9"):
        await network.again(stored=("flat", 9))


async def test_what_cannot_be_reached_or_read_is_said(network: Network) -> None:
    written = Written(FLAT.encode(), "toml", "draft.toml", {})
    window = UsageWindow(0, DAY_MS)
    with pytest.raises(Unreachable):
        await rate_again(Job("postgresql://nobody@127.0.0.1:1/x", window, written), lambda records: None, 1)
    with pytest.raises(JobError):
        await rate_again(Job("postgresql://nobody@127.0.0.1:1/x", window, written), lambda records: None, 2)
    with pytest.raises(NoSuchTariff, match="prize"):
        await network.again(FLAT.replace("price", "prize"))
    assert (await prepare(network.job())).tariff == "as published"


# --- the report


class ParsedPage(HTMLParser):
    """Tags that were opened and not closed, and everything that would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.tables = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.tables += tag == "table"
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag in ("script", "link", "img", "iframe", "object"):
            self.loaded.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_report_is_json_and_a_page_that_loads_nothing(network: Network) -> None:
    one = random_tariff(Random(1))
    await network.traffic(1, one, steps=120)
    job = network.job(random_tariff(Random(2)))
    found = report(job, "t <&> draft", await rate_again(job, lambda records: None, 1))
    again = msgspec.json.decode(msgspec.json.encode(found))
    assert again == found
    euro = found["currencies"]["EUR"]
    assert sum(Decimal(day["change"]) for day in euro["days"].values()) == Decimal(euro["revenue"]["change"])
    assert euro["subscribers"]["count"] == 4
    html = page(found)
    parsed = ParsedPage()
    parsed.feed(html)
    assert (parsed.open, parsed.loaded) == ([], [])
    assert parsed.tables >= 3
    svgs = html.split("<svg")[1:]
    assert len(svgs) == 3
    for svg in svgs:
        drawn = ElementTree.fromstring("<svg" + svg.partition("</svg>")[0] + "</svg>")  # ours
        assert any(one.tag.endswith("rect") for one in drawn.iter())
    assert "http://" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<&>" not in html
    assert "t &lt;&amp;&gt; draft" in html
    nothing = await network.again(one, window=UsageWindow(0, 1))
    empty = ParsedPage()
    empty.feed(page(report(job, "t", nothing)))
    assert empty.open == []


@pytest.mark.parametrize("seed", range(20))
def test_a_histogram_counts_everybody_once(seed: int) -> None:
    rng = Random(seed)
    spread = rng.choice([1, 100, 10**6, 10**9])
    changes = sorted(rng.choice([0, 0, rng.randrange(-spread, spread + 1)]) for _ in range(rng.randrange(1, 200)))
    bins = histogram(changes)
    assert sum(count for _, _, count in bins) == len(changes)
    for low, high, count in bins:
        if low == high == 0:
            assert count == changes.count(0)
        elif low is not None and high is not None:
            if low >= 0:
                assert count == sum(low < one <= high for one in changes)
            else:
                assert count == sum(low <= one < high for one in changes)


def test_percent() -> None:
    assert [percent(*of) for of in ((1, 3), (-2, 3), (0, 3), (5, 0), (-2, -4), (1, -4), (1, 20_000), (-1, 20_001))] == [
        "33.33", "-66.67", "0.00", None, "50.00", "-25.00", "0.01", "0.00",
    ]  # fmt: skip
