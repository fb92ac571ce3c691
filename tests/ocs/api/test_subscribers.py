"""Subscribers through the API: identities are unique, changes reach Redis before the answer does."""

import asyncio

import msgspec
import pytest

from balances import keys
from balances.packing import ACCOUNT_FIELD, unpack_account
from balances.structs.account import Take
from balances.structs.blob import FORMAT
from balances.structs.record import Record
from balances.structs.session import Line, Session, SessionState
from ocs.charging.profile import Profile
from ocs.master.subscribers import served
from tariffs.catalog import Assignment
from tests.ocs.api.imports import errors, imported
from tests.ocs.api_harness import ApiHarness


async def profile(harness: ApiHarness, identity: str) -> Profile | None:
    packed = await harness.redis.get(keys.profile(identity))
    return None if packed is None else msgspec.msgpack.decode(packed, type=Profile)


@pytest.fixture
async def harness(harness: ApiHarness) -> ApiHarness:
    await harness.account("a1", time_zone="Europe/Berlin")
    await harness.account("a2")
    await harness.tariff()
    return harness


async def test_a_subscriber_is_found_by_every_identity(harness: ApiHarness) -> None:
    made = await harness.subscriber("s1", "a1", "msisdn:+49 170 1", "imsi:001011700000001", "sip:+491701@Example.net")
    assert (made.status_code, made.json()["identities"]) == (
        201,
        ["imsi:001011700000001", "msisdn:491701", "sip:491701@example.net"],
    )
    for identity in ("msisdn:491701", "imsi:001011700000001", "sip:491701@example.net", "subscriber:s1"):
        found = await profile(harness, identity)
        assert found is not None, identity
        assert (found.subscriber, found.account, found.currency, found.time_zone, found.assignments) == (
            "s1",
            "a1",
            "EUR",
            "Europe/Berlin",
            (Assignment("flat"),),
        )
    found_by = (await harness.call("GET", "/v1/subscribers?identity=msisdn:%2B491701")).json()["items"]
    assert [item["id"] for item in found_by] == ["s1"]
    assert (await harness.call("GET", "/v1/subscribers?identity=msisdn:499")).json()["items"] == []


async def test_an_identity_belongs_to_one(harness: ApiHarness) -> None:
    await harness.subscriber("s1", "a1", "msisdn:491701")
    taken = await harness.subscriber("s2", "a1", "msisdn:491701", "msisdn:491702")
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:ocs:problem:identity-taken")
    assert "msisdn:491701 to s1" in taken.json()["detail"]
    assert await profile(harness, "msisdn:491702") is None
    given_up = await harness.call(
        "PUT", "/v1/subscribers/s1", {"account": "a1", "identities": [], "tariffs": []}, if_match="*"
    )
    assert given_up.status_code == 200
    assert await profile(harness, "msisdn:491701") is None
    assert (await harness.subscriber("s2", "a1", "msisdn:491701")).status_code == 201
    assert (await profile(harness, "msisdn:491701")).subscriber == "s2"  # type: ignore[union-attr]


async def test_of_two_at_once_one_gets_the_identity(harness: ApiHarness) -> None:
    both = await asyncio.gather(*(harness.subscriber(f"s{n}", "a1", "msisdn:491701") for n in range(8)))
    assert sorted(answer.status_code for answer in both) == [201] + [409] * 7


async def test_what_it_names_must_exist(harness: ApiHarness) -> None:
    nowhere = await harness.subscriber("s1", "a9", "msisdn:491701")
    assert (nowhere.status_code, nowhere.json()["type"]) == (422, "urn:ocs:problem:unresolved")
    tariff = await harness.subscriber("s1", "a1", "msisdn:491701", tariffs=[{"tariff": "none"}])
    assert tariff.status_code == 422
    assert "none" in tariff.json()["detail"]


NONE = ["491701", "msisdn:", "phone:491701", "msisdn:12ab", "subscriber:s9", "imsi:1"]


async def test_identities_that_are_none(harness: ApiHarness) -> None:
    for identity in NONE:
        refused = await harness.subscriber("s1", "a1", identity)
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:ocs:problem:invalid")


async def test_versions(harness: ApiHarness) -> None:
    made = await harness.subscriber("s1", "a1", "msisdn:491701")
    again = await harness.subscriber("s1", "a1", "msisdn:491701")
    assert (again.status_code, again.headers["etag"]) == (200, made.headers["etag"])
    blind = await harness.subscriber("s1", "a1", "msisdn:491702")
    assert blind.status_code == 428
    body = {"account": "a1", "identities": ["msisdn:491702"], "tariffs": [{"tariff": "flat"}]}
    changed = await harness.call("PUT", "/v1/subscribers/s1", body, if_match=made.headers["etag"])
    assert changed.status_code == 200
    late = body | {"barred": True}
    assert (await harness.call("PUT", "/v1/subscribers/s1", late, if_match=made.headers["etag"])).status_code == 412
    assert (await harness.call("PUT", "/v1/subscribers/s1", late, if_none_match="*")).status_code == 412
    assert (await harness.call("DELETE", "/v1/subscribers/s1")).status_code == 428
    gone = await harness.call("DELETE", "/v1/subscribers/s1", if_match=changed.headers["etag"])
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await harness.call("GET", "/v1/subscribers/s1")).status_code == 404
    for identity in ("msisdn:491701", "msisdn:491702", "subscriber:s1"):
        assert await profile(harness, identity) is None


async def test_the_account_is_told_of_a_change(harness: ApiHarness) -> None:
    await harness.subscriber("s1", "a1", "msisdn:491701")
    before = [
        unpack_account(await harness.redis.hget(keys.account(a), ACCOUNT_FIELD)).profile_rev for a in ("a1", "a2")
    ]
    body = {"account": "a2", "identities": ["msisdn:491701"], "tariffs": [{"tariff": "flat"}]}
    await harness.call("PUT", "/v1/subscribers/s1", body, if_match="*")
    after = [unpack_account(await harness.redis.hget(keys.account(a), ACCOUNT_FIELD)).profile_rev for a in ("a1", "a2")]
    found = await profile(harness, "msisdn:491701")
    assert found is not None
    assert after == [found.rev, found.rev]
    assert before[0] < after[0]
    assert found.moved_ms > 0


USES = [("s1", "data"), ("s2", "data"), ("s3", "data")]


@pytest.mark.parametrize("how", ["moved", "barred", "deleted", "another payer"])
async def test_the_account_of_one_who_is_served_no_more_is_told(harness: ApiHarness, how: str) -> None:
    """charging.md section 5: then the keeper asks the sessions of those who are not served any more to report."""
    await harness.subscriber("s1", "a1", "msisdn:491701")
    await harness.subscriber("s2", "a1", "msisdn:491702")
    assert await served(harness.pool, "a1", USES) == {*USES[:2]}
    before = await harness.redis.xlen(keys.ledger(keys.shard_of("a1")))
    account = "a2" if how == "moved" else "a1"
    body: dict[str, object] = {"account": account, "identities": ["msisdn:491701"], "tariffs": [{"tariff": "flat"}]}
    body["barred"] = how == "barred"
    if how == "another payer":
        body["payers"] = {"data": "a2"}
    if how == "deleted":
        await harness.call("DELETE", "/v1/subscribers/s1", if_match="*")
    else:
        await harness.call("PUT", "/v1/subscribers/s1", body, if_match="*")
    assert await harness.redis.xlen(keys.ledger(keys.shard_of("a1"))) == before + 1
    [(_, last)] = await harness.redis.xrevrange(keys.ledger(keys.shard_of("a1")), count=1)
    record = msgspec.msgpack.decode(last[b"r"], type=Record)
    assert (record.account, record.reauthorize) == ("a1", ["members", "final"])
    assert await served(harness.pool, "a1", USES) == {USES[1]}


async def test_a_new_time_zone_reaches_the_profiles(harness: ApiHarness) -> None:
    await harness.subscriber("s1", "a2", "msisdn:491701")
    changed = await harness.call("PUT", "/v1/accounts/a2", {"currency": "EUR", "time_zone": "Asia/Tokyo"}, if_match="*")
    assert changed.json()["time_zone"] == "Asia/Tokyo"
    assert (await profile(harness, "msisdn:491701")).time_zone == "Asia/Tokyo"  # type: ignore[union-attr]


async def test_dates_of_tariffs(harness: ApiHarness) -> None:
    tariffs = [{"tariff": "flat", "from": "2030-01-01T00:00:00+01:00", "until": "2031-01-01T00:00:00Z"}]
    made = await harness.subscriber("s1", "a1", "msisdn:491701", tariffs=tariffs)
    assert made.json()["tariffs"] == [
        {"tariff": "flat", "from": "2029-12-31T23:00:00Z", "until": "2031-01-01T00:00:00Z"}
    ]
    found = await profile(harness, "msisdn:491701")
    assert found is not None
    assert found.assignments == (Assignment("flat", 1893452400000, 1924992000000),)
    backwards = [{"tariff": "flat", "from": "2031-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}]
    assert (await harness.subscriber("s2", "a1", "msisdn:491702", tariffs=backwards)).status_code == 422


async def test_the_password_is_never_shown(harness: ApiHarness) -> None:
    made = await harness.subscriber("s1", "a1", "username:joe", password="open sesame")
    assert "sesame" not in made.text
    stored = await harness.pool.fetchval("SELECT password FROM subscribers")
    assert "sesame" not in stored
    assert harness.backoffice.passwords.matches(stored, "s1", "open sesame")
    body = {"account": "a1", "identities": ["username:joe"], "tariffs": []}
    await harness.call("PUT", "/v1/subscribers/s1", body, if_match="*")
    stored = await harness.pool.fetchval("SELECT password FROM subscribers")
    assert "sesame" not in stored
    assert harness.backoffice.passwords.matches(stored, "s1", "open sesame")
    await harness.call("PUT", "/v1/subscribers/s1", body | {"password": ""}, if_match="*")
    assert await harness.pool.fetchval("SELECT password FROM subscribers") is None


async def test_attributes_are_what_was_put_last(harness: ApiHarness) -> None:
    attributes = {"segment": "gold", "minute_price": "0.05", "_x-1": "Ä ö"}
    made = await harness.subscriber("s1", "a1", "username:joe", attributes=attributes)
    assert (made.status_code, made.json()["attributes"]) == (201, attributes)
    assert (await profile(harness, "username:joe")).attributes == attributes  # type: ignore[union-attr]
    again = await harness.subscriber("s1", "a1", "username:joe", attributes=dict(reversed(attributes.items())))
    assert (again.status_code, again.headers["etag"]) == (200, made.headers["etag"])
    changed = attributes | {"segment": "silver"}
    body = {"account": "a1", "identities": ["username:joe"], "tariffs": [], "attributes": changed}
    await harness.call("PUT", "/v1/subscribers/s1", body, if_match="*")
    assert (await profile(harness, "subscriber:s1")).attributes == changed  # type: ignore[union-attr]
    del body["attributes"]  # as with tariffs, and not as with the password
    assert (await harness.call("PUT", "/v1/subscribers/s1", body, if_match="*")).json()["attributes"] == {}
    assert (await profile(harness, "username:joe")).attributes == {}  # type: ignore[union-attr]


NO_ATTRIBUTES = [
    {"1st": "x"},
    {"a b": "x"},
    {"": "x"},
    {"a" * 65: "x"},
    {"a\n": "x"},
    {"a": ""},
    {"a": "x" * 256},
    {"a": "x\n"},
    {"a": "\x00"},
    {"a": "\x7f"},
    {"a": 1},
    {f"a{number}": "x" for number in range(33)},
]


async def test_attributes_that_are_none(harness: ApiHarness) -> None:
    for attributes in NO_ATTRIBUTES:
        refused = await harness.subscriber("s1", "a1", attributes=attributes)
        assert (refused.status_code, "attributes" in refused.json()["detail"]) == (422, True), attributes
    most = {"a" * 63 + str(number % 10) + "b" * (number // 10): "x" * 255 for number in range(10)}
    assert (await harness.subscriber("s1", "a1", attributes=most)).status_code == 201


def open_session(session: str, subscriber: str) -> Session:
    return Session(
        version=FORMAT,
        id=session,
        subscriber=subscriber,
        service="data",
        state=SessionState.OPEN,
        peer="pgw.example.net",
        realm="example.net",
        via="dra.example.net",
        opened_ms=1_700_000_000_000,
        touched_ms=1_700_000_060_000,
        forget_ms=0,
        due_ms=1_700_000_600_000,
        seen=[],
        answers=[],
        lines=[
            Line(
                rating_group=10,
                service_id=-1,
                unit=1,
                total=5_000_000,
                debited=50_000,
                granted=10_000_000,
                hold=[Take(0, 100_000)],
                due_ms=1_700_001_200_000,
            )
        ],
    )


async def test_what_no_nas_could_be_told_is_refused_here_and_in_an_import(harness: ApiHarness) -> None:
    body = {"account": "a1", "identities": [], "tariffs": [], "attributes": {"framed_ip_address": "192.0.2.300"}}
    refused = await harness.call("PUT", "/v1/subscribers/s1", body)
    assert refused.status_code == 422
    assert "attributes.framed_ip_address" in str(refused.json())
    assert "Framed-IP-Address" in str(refused.json())
    answer = await imported(harness, [{"subscriber": {"id": "s1", **body}}])
    assert [(one["field"], one["line"]) for one in errors(answer)] == [("subscriber.attributes.framed_ip_address", 1)]
    body["attributes"] = {"framed_ip_address": "192.0.2.30", "segment": "gold"}
    assert (await harness.call("PUT", "/v1/subscribers/s1", body)).status_code == 201
