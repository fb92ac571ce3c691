"""Tariffs that are checked before they are published; sessions as supervision sees them."""

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from balances import keys
from balances.packing import pack
from balances.structs.session import SessionState
from ocs.charging.settings import Regular
from ocs.master.catalog import FIELDS, unpack_catalog
from tests.ocs.api.test_subscribers import open_session
from tests.ocs.api_harness import FLAT, ApiHarness

TOML = {"content_type": "application/toml"}


async def test_a_tariff_is_published_in_versions(harness: ApiHarness) -> None:
    made = await harness.call("PUT", "/v1/tariffs/flat", FLAT, **TOML)
    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (201, 1, '"1"')
    again = await harness.call("PUT", "/v1/tariffs/flat", FLAT, **TOML)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    dearer = FLAT.replace("0.01", "0.02")
    assert (await harness.call("PUT", "/v1/tariffs/flat", dearer, **TOML)).status_code == 428
    second = await harness.call("PUT", "/v1/tariffs/flat", dearer, if_match='"1"', **TOML)
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert (await harness.call("GET", "/v1/tariffs/flat?version=1")).json()["document"] == FLAT
    assert (await harness.call("GET", "/v1/tariffs")).json()["items"][0]["version"] == 2
    assert (await harness.call("GET", "/v1/tariffs/flat?version=3")).status_code == 404


async def test_the_catalogue_has_what_still_prices_something(harness: ApiHarness) -> None:
    later = "valid_from = 2030-01-01T00:00:00Z\n" + FLAT
    await harness.call("PUT", "/v1/tariffs/flat", FLAT, **TOML)
    await harness.call("PUT", "/v1/tariffs/flat", FLAT.replace("0.01", "0.02"), if_match="*", **TOML)
    await harness.call("PUT", "/v1/tariffs/flat", later, if_match="*", **TOML)
    version, *packed = await harness.redis.hmget(keys.CATALOG, "version", *FIELDS)
    catalog = unpack_catalog(int(version), packed).catalog
    now, then = (catalog.in_force("flat", at_ms)[0] for at_ms in (1_800_000_000_000, 1_900_000_000_000))
    assert now is not None
    assert then is not None
    assert (now.version, then.version) == (2, 3)


BAD = [
    ("", "tariff"),
    ("tariff = ", "TOML"),
    (FLAT.replace('"flat"', '"other"'), "other"),
    (FLAT.replace("flat =", "flatt ="), "flatt"),
    (FLAT.replace('"0.01"', '"-1"'), "flat"),
    (b"\xff\xfe", "TOML"),
]


async def test_a_bad_document_is_refused_by_its_key(harness: ApiHarness) -> None:
    for document, names in BAD:
        refused = await harness.call("PUT", "/v1/tariffs/flat", document, **TOML)
        assert refused.status_code == 422
        assert names in refused.json()["detail"]
        assert (await harness.call("GET", "/v1/tariffs/flat")).status_code == 404


async def test_tariffs_in_json_and_in_nothing_else(harness: ApiHarness) -> None:
    row = {"when": {"service": "data"}, "flat": {"price": "0.01", "per": "1 MB"}}
    made = await harness.call("PUT", "/v1/tariffs/j", {"tariff": "j", "currency": "EUR", "rows": [row]})
    assert made.status_code == 201
    assert (await harness.call("PUT", "/v1/tariffs/j", FLAT, content_type="text/yaml")).status_code == 415


async def test_sessions(harness: ApiHarness) -> None:
    await harness.account()
    session = open_session("pgw.example.net;1;2/3", "s1")
    await harness.redis.hset(keys.account("a1"), session.id, pack(session))
    await harness.redis.set(keys.where(session.id), keys.place("a1", "s1"))
    listed = (await harness.call("GET", "/v1/sessions?account=a1")).json()["items"]
    path = f"/v1/sessions/{quote(session.id, safe='')}"
    shown = (await harness.call("GET", path)).json()
    assert shown["suspense"] == shown["jobs"] == []
    assert listed == [shown | {"suspense": None, "jobs": None}]  # looked up for one session only
    assert shown["lines"] == [
        {
            "rating_group": 10,
            "service_identifier": None,
            "unit": "octets",
            "used": 5_000_000,
            "granted": 10_000_000,
            "debited": "0.05",
            "held": "0.10",
            "hold_expires": "2023-11-14T22:33:20Z",
            "final": False,
            "tariff": "",
        }
    ]
    pushed = await harness.call("POST", f"{path}/reauthorize")
    assert pushed.json() == {"session": session.id, "result": "2001", "host": "pgw.example.net"}
    await harness.call("POST", f"{path}/abort")
    assert harness.pushed == [("rar", session.id), ("asr", session.id)]
    assert (await harness.call("GET", "/v1/sessions/nobody")).status_code == 404


async def put_session(harness: ApiHarness, account: str, name: str, due_ms: int, **fields: Any) -> None:
    session = msgspec.structs.replace(open_session(name, "s1"), due_ms=due_ms, **fields)
    await harness.redis.hset(keys.account(account), name, pack(session))
    await harness.redis.zadd(keys.due(keys.shard_of(account)), {keys.due_member(account, name): due_ms})


async def test_sessions_of_all_accounts_the_oldest_hold_first(harness: ApiHarness) -> None:
    for account in ("a1", "a2", "a3"):
        await harness.account(account)
    names = [f"gw;{number:03d}" for number in range(90)]
    for number, name in enumerate(names):  # many of one instant, and more of a shard than is read at a time
        await put_session(harness, f"a{number % 3 + 1}", name, 1_700_000_000_000 + number // 40)
    await put_session(harness, "a1", "gone", 1_600_000_000_000, state=SessionState.CLOSED)
    found: list[str] = []
    after: str | None = ""
    pages = 0
    while after is not None:
        page = (await harness.call("GET", f"/v1/sessions?limit=7&after={after}")).json()
        found += [session["id"] for session in page["items"]]
        after, pages = page["next"], pages + 1
    assert sorted(found) == names
    assert [int(name[3:]) // 40 for name in found] == sorted(number // 40 for number in range(90))
    assert pages == 13
    closed = (await harness.call("GET", "/v1/sessions?state=closed")).json()["items"]
    assert [session["id"] for session in closed] == ["gone"]


async def test_sessions_of_a_peer(harness: ApiHarness) -> None:
    await harness.account()
    await put_session(harness, "a1", "gw;1", 1, peer="one.example.net")
    await put_session(harness, "a1", "gw;2", 2, peer="two.example.net")
    for path in ("/v1/sessions?peer=two.example.net", "/v1/sessions?account=a1&peer=Two.Example.net"):
        page = (await harness.call("GET", path)).json()
        assert ([session["id"] for session in page["items"]], page["next"]) == (["gw;2"], None)
    for after in ("x", "%3D%3D%3D", "bm8gbnVtYmVy"):
        assert (await harness.call("GET", f"/v1/sessions?after={after}")).status_code == 422, after


async def test_sessions_of_an_account_come_in_pages_too(harness: ApiHarness) -> None:
    """`limit` and `after` are not passed over where an account is named."""
    await harness.account()
    for number in range(7):
        await put_session(harness, "a1", f"gw;{number}", number, opened_ms=1_700_000_000_000 - number // 2)
    found: list[str] = []
    after: str | None = ""
    pages = 0
    while after is not None:
        page = (await harness.call("GET", f"/v1/sessions?account=a1&limit=3&after={after}")).json()
        found += [session["id"] for session in page["items"]]
        after, pages = page["next"], pages + 1
    assert (found, pages) == ([f"gw;{number}" for number in (6, 4, 5, 2, 3, 0, 1)], 3)


async def test_a_page_looks_at_a_bounded_number(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocs.backoffice.sessions.LOOKED_AT_MAX", 10)
    await harness.account()
    for number in range(25):
        await put_session(harness, "a1", f"gw;{number:02d}", number, peer="last" if number == 24 else "other")
    pages: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        page = (await harness.call("GET", f"/v1/sessions?peer=last&after={after}")).json()
        pages.append([session["id"] for session in page["items"]])
        after = page["next"]
    assert pages == [[], [], ["gw;24"]]


@pytest.mark.parametrize("session_id", ["X|7", "a b\tc", "50%", "nul\0", "line\nbreak", "host;1;2/3"])
async def test_a_session_is_found_by_the_name_it_has_on_the_wire(harness: ApiHarness, session_id: str) -> None:
    """And by the key that a list says; X|7 is not the sub-session 7 of X."""
    await harness.account()
    named = {}
    for sub in (None, 7):
        session = open_session(keys.session_key(session_id, sub), "s1")
        await harness.redis.hset(keys.account("a1"), session.id, pack(session))
        await harness.redis.set(keys.where(session.id), keys.place("a1", "s1"))
        named[session.id] = (session_id, sub)
    other = open_session(keys.session_key("X", 7), "s1")
    await harness.redis.hset(keys.account("a1"), other.id, pack(other))
    await harness.redis.set(keys.where(other.id), keys.place("a1", "s1"))
    listed = (await harness.call("GET", "/v1/sessions?account=a1")).json()["items"]
    assert {one["id"]: (one["session_id"], one["sub_session_id"]) for one in listed} == named | {other.id: ("X", 7)}
    for key in named:
        shown = (await harness.call("GET", f"/v1/sessions/{quote(key, safe='')}")).json()
        assert (shown["session_id"], shown["sub_session_id"], shown["incarnation"]) == (*named[key], 1)
    if session_id not in ("X|7", "line\nbreak"):  # the key of the other one; what no path of HTTP carries
        shown = (await harness.call("GET", f"/v1/sessions/{quote(session_id, safe='')}")).json()
        assert shown["session_id"] == session_id


async def test_peers_say_what_was_unusual_about_their_requests(harness: ApiHarness) -> None:
    clients = {"smsc.example.net": Regular(), "pgw.example.net": Regular(reuses_numbers=True)}
    harness.context.settings = msgspec.structs.replace(harness.context.settings, clients=clients)
    for peer in ("smsc.example.net", "smsc.example.net", "guest"):
        await harness.store.remark(peer, "equal").wait()
    peers = (await harness.call("GET", "/v1/peers")).json()["items"]
    assert [(one["name"], one["configured"], one["reuses_numbers"], one["marks"]) for one in peers] == [
        ("guest", False, False, {"equal": 1}),
        ("pgw.example.net", True, True, {}),
        ("smsc.example.net", True, False, {"equal": 2}),
    ]
