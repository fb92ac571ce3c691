"""What a session told before, with the real scripts, tables and explanations: whichever worker, whatever was away."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from balances import keys
from balances.ledger.verify import verify
from balances.packing import stored_account
from balances.structs.blob import blob_of
from balances.structs.charge import Result
from balances.structs.session import Session
from ocs.charging.diameter.translate import to_request
from ocs.charging.handle import handle
from ocs.charging.remembered import unpacked
from ocs.charging.request import ChargingAnswer
from ocs.master.bring_in import bring_in
from ocs.net.step import stepped
from ocs.rerating.tally import RatingTally
from protocol.diameter.dictionary.tgpp_charging import PsInformation, ServiceInformation
from tests.ocs.charging.wire import I, T, U, ccr, lines, mscc
from tests.ocs.rerating.network import Network

MB = 2**20
FLAT = """
tariff = "flat"
currency = "EUR"
[[rows]]
name = "abroad"
when = { service = "data", visited = "208*" }
flat = { per = "1 MB", price = "1.00" }
[[rows]]
name = "home"
flat = { per = "1 MB", price = "0.01" }
"""
SESSION = "gw.example.net;1700000000;1"


def told(network: str) -> dict[str, Any]:
    return {"service_information": ServiceInformation(ps_information=PsInformation(tgpp_sgsn_mcc_mnc=network))}


async def customer(network: Network) -> None:
    await network.harness.tariff(FLAT)
    await network.harness.account(time_zone="UTC")
    await network.harness.top_up("20.00")
    await network.harness.subscriber("s1", "a1", "msisdn:491700000001")


async def update(network: Network, number: int, **fields: Any) -> None:
    network.now_ms += 1_000
    report = mscc(10, ask={"cc_total_octets": MB}, used={"cc_total_octets": MB})
    answer = await network.send(U, cc_request_number=number, **lines(report), **fields)
    assert answer.multiple_services_credit_control[0].result_code == 2001


async def begin(network: Network, **fields: Any) -> None:
    await network.send(I, **lines(mscc(10, ask={"cc_total_octets": MB})), **fields)


async def end(network: Network, number: int, **fields: Any) -> None:
    network.now_ms += 1_000
    await network.send(T, cc_request_number=number, **lines(mscc(10, used={"cc_total_octets": MB})), **fields)


async def spent(network: Network) -> Decimal:
    return 20 - Decimal((await network.harness.call("GET", "/v1/accounts/a1")).json()["balance"])


def total(tally: RatingTally) -> tuple[int, int]:
    money = tally.money["EUR"].total
    return money.before, money.after


async def explained(network: Network) -> list[dict[str, Any]]:
    found = await network.harness.call("GET", f"/v1/explain/sessions/{SESSION}")
    assert found.status_code == 200, found.text
    return [piece for piece in found.json()["pieces"] if piece["used"]]


async def test_on_other_workers_and_after_the_account_was_away(network: Network) -> None:
    await customer(network)
    await begin(network, **told("20801"))
    await network.open()  # another worker
    await update(network, 1)
    await network.harness.sync()
    of = keys.AccountKeys("a1")
    await network.harness.redis.delete(of.account)
    harness = network.harness
    assert await bring_in(harness.pool, harness.redis, harness.store, "a1", network.now_ms) == "ok"
    await network.open()
    await update(network, 2)
    await network.open()
    await end(network, 3)
    assert await spent(network) == 3
    await network.harness.sync()
    assert (await verify(network.harness.redis, network.harness.pool)).findings == []
    rows = await network.harness.pool.fetch("SELECT inputs FROM usage_records WHERE session = $1", SESSION)
    assert [msgspec.json.decode(row["inputs"])["visited"] for row in rows] == ["20801"] * len(rows)
    pieces = await explained(network)
    assert [(piece["cost"], piece["tariff"], piece["reproduced"]) for piece in pieces] == [
        ("1.00", "flat@1:abroad", True)
    ] * 3


async def test_a_draft_is_asked_with_what_was_told(network: Network) -> None:
    await customer(network)
    await begin(network, **told("20801"))
    for number in (1, 2):
        await network.open()
        await update(network, number)
    await end(network, 3)
    await network.harness.sync()
    same = await network.again(FLAT)
    assert total(same) == (3_000_000, 3_000_000)
    half = await network.again(FLAT.replace('"1.00"', '"0.50"'))
    assert total(half) == (3_000_000, 1_500_000)


async def test_a_change_counts_from_the_next_grant_on(network: Network) -> None:
    await customer(network)
    await begin(network, **told("20801"))
    await update(network, 1, **told("26201"))  # used abroad, granted at home
    await end(network, 2)
    assert await spent(network) == Decimal("1.01")
    await network.harness.sync()
    same = await network.again(FLAT)
    assert total(same) == (1_010_000, 1_010_000)
    entries = (await network.harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    for entry in entries:
        if entry["why"] == "usage":
            found = (await network.harness.call("GET", f"/v1/explain/accounts/a1/entries/{entry['seq']}")).json()
            assert found.get("same_ladder"), found


async def sent_anew(network: Network, kind: Any, end_to_end: int, **fields: Any) -> None:
    assert network.context is not None
    asked = ccr(kind, **fields)
    asked.__dict__["end_to_end"] = end_to_end
    answer = await stepped(
        handle(to_request(asked, "gw.example.net", network.context.settings), network.context, network.now_ms)
    )
    assert isinstance(answer, ChargingAnswer), answer
    assert answer.result is Result.OK, answer


async def test_a_session_id_used_again_knows_nothing(network: Network) -> None:
    """Facts end with the incarnation (charging.md 5)."""
    await customer(network)
    await begin(network, **told("20801"))
    await end(network, 1)
    network.now_ms += 400_000
    await sent_anew(network, I, 77, **lines(mscc(10, ask={"cc_total_octets": MB})))
    report = mscc(10, ask={"cc_total_octets": MB}, used={"cc_total_octets": MB})
    await sent_anew(network, U, 78, cc_request_number=1, **lines(report))
    assert await spent(network) == Decimal("1.01")
    sessions = stored_account(await network.harness.redis.hgetall(keys.account("a1"))).sessions.values()
    (packed,) = [one for one in sessions if msgspec.msgpack.decode(one, type=Session).id.startswith(SESSION)]
    assert unpacked(blob_of(msgspec.msgpack.decode(packed, type=Session).facts)).whole == {}
