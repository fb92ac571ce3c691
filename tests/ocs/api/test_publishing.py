"""Tariffs with the files they name: published together or not at all, pinned, compiled again with each new one."""

import asyncio
from importlib import resources
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from balances import keys
from ocs.master.catalog import FIELDS, Unpacked, unpack_catalog
from tests.ocs.api_harness import FLAT, ApiHarness

TOML = {"content_type": "application/toml"}
CSV = {"content_type": "text/csv"}

WORLD = "prefix,zone,price\n49,Germany,0.05\n33,France,0.07\n"

CALLS = """
tariff = "calls"
currency = "EUR"
include = ["parts/common.toml"]

[[rows]]
when = { service = "voice", to = "world" }
flat = { price = "to.price", per = "1 min" }
"""

COMMON = """
tables = { world = "world.csv" }
"""


def file(name: str, content: str, if_version: int | None = None) -> dict[str, Any]:
    media_type = "text/csv" if name.endswith("csv") else "application/toml"
    wanted = {} if if_version is None else {"if_version": if_version}
    return {"name": name, "media_type": media_type, "content": content} | wanted


def document(text: str, if_version: int | None = None) -> dict[str, Any]:
    wanted = {} if if_version is None else {"if_version": if_version}
    return {"media_type": "application/toml", "document": text} | wanted


async def publish(harness: ApiHarness, files: list[Any], tariffs: list[Any]) -> httpx.Response:
    return await harness.call("POST", "/v1/tariffs", {"files": files, "tariffs": tariffs})


async def put_file(harness: ApiHarness, content: str, name: str = "world.csv", **headers: str) -> httpx.Response:
    return await harness.call("PUT", f"/v1/tariff-files/{name}", content, **CSV | headers)


def made(published: httpx.Response) -> dict[str, tuple[int, bool]]:
    assert published.status_code in (200, 201), published.text
    found = published.json()
    files = {one["name"]: (one["version"], one["new"]) for one in found["files"]}
    return files | {one["id"]: (one["version"], one["new"]) for one in found["tariffs"]}


async def projected(harness: ApiHarness) -> Unpacked:
    version, *packed = await harness.redis.hmget(keys.CATALOG, "version", *FIELDS)
    return unpack_catalog(int(version), packed)


@pytest.fixture
async def calls(harness: ApiHarness) -> ApiHarness:
    """World, the common part and the tariff, each in version 1."""
    bundle = [file("world.csv", WORLD), file("parts/common.toml", COMMON)], [document(CALLS)]
    assert made(await publish(harness, *bundle)) == dict.fromkeys(
        ("world.csv", "parts/common.toml", "calls"), (1, True)
    )
    return harness


async def test_a_bundle_is_there_as_it_was_sent(calls: ApiHarness) -> None:
    shown = (await calls.call("GET", "/v1/tariffs/calls")).json()
    assert (shown["document"], shown["files"]) == (CALLS, {"parts/common.toml": 1, "world.csv": 1})
    answer = await calls.call("GET", "/v1/tariff-files/world.csv")
    table = answer.json()
    assert (table["name"], table["version"], answer.headers["etag"]) == ("world.csv", 1, '"1"')
    assert (table["content"], table["media_type"]) == (WORLD, "text/csv")
    assert (await calls.call("GET", "/v1/tariff-files/parts%2Fcommon.toml")).json()["content"] == COMMON
    listed = (await calls.call("GET", "/v1/tariff-files")).json()["items"]
    assert [(one["name"], one["octets"]) for one in listed] == [("parts/common.toml", len(COMMON)), ("world.csv", 49)]
    first = (await calls.call("GET", "/v1/tariff-files?limit=1")).json()
    assert first["next"] == "parts/common.toml"
    assert (await calls.call("GET", f"/v1/tariff-files?after={first['next']}")).json()["items"] == listed[1:]
    for nowhere in ("world.csv?version=2", "other.csv", "..%2Fworld.csv"):
        assert (await calls.call("GET", f"/v1/tariff-files/{nowhere}")).status_code == 404


async def test_a_file_makes_new_versions_of_the_tariffs_that_name_it(calls: ApiHarness) -> None:
    await calls.tariff()  # names nothing, and stays as it is
    assert (await put_file(calls, WORLD.replace("0.07", "0.09"))).status_code == 428
    dearer = await put_file(calls, WORLD.replace("0.07", "0.09"), if_match='"1"')
    assert (dearer.status_code, dearer.headers["etag"]) == (200, '"2"')
    assert made(dearer) == {"world.csv": (2, True), "calls": (2, True)}
    assert made(await put_file(calls, WORLD.replace("0.07", "0.09"))) == {"world.csv": (2, False)}
    versions = (await calls.call("GET", "/v1/tariffs/calls/versions")).json()
    assert [(one["version"], one["files"]["world.csv"]) for one in versions["items"]] == [(2, 2), (1, 1)]
    old = (await calls.call("GET", "/v1/tariffs/calls?version=1")).json()
    assert (old["files"]["world.csv"], old["document"]) == (1, CALLS)
    assert (await calls.call("GET", "/v1/tariff-files/world.csv?version=1")).json()["content"] == WORLD


async def test_an_included_file_may_name_another_table(calls: ApiHarness) -> None:
    common = COMMON.replace("world.csv", "tables/wide.csv")
    missing = await publish(calls, [file("parts/common.toml", common, 1)], [])
    assert (missing.status_code, missing.json()["source"]) == (422, "calls")
    assert "tables/wide.csv" in missing.json()["detail"]
    assert made(await put_file(calls, WORLD, "tables/wide.csv")) == {"tables/wide.csv": (1, True)}
    done = await publish(calls, [file("parts/common.toml", common, 1)], [])
    assert made(done) == {"parts/common.toml": (2, True), "calls": (2, True)}
    shown = (await calls.call("GET", "/v1/tariffs/calls")).json()
    assert shown["files"] == {"parts/common.toml": 2, "tables/wide.csv": 1}
    assert made(await put_file(calls, WORLD + "1,US,1\n", if_match="*")) == {"world.csv": (2, True)}


async def test_a_file_is_followed_by_the_version_in_force_and_by_those_yet_to_begin(calls: ApiHarness) -> None:
    later = f"valid_from = 2030-01-01T00:00:00Z\n{CALLS}"
    await calls.call("PUT", "/v1/tariffs/calls", later, if_match="*", **TOML)
    await put_file(calls, WORLD.replace("0.07", "0.09"), if_match="*")
    await put_file(calls, WORLD, "unused.csv")
    unpacked = await projected(calls)
    now, then = (unpacked.catalog.in_force("calls", at_ms)[0] for at_ms in (1_800_000_000_000, 1_900_000_000_000))
    assert now is not None
    assert then is not None
    assert (now.version, then.version) == (3, 4)
    prices = [one.parts.tables["world"].find("331") for one in (now, then)]
    assert [entry.columns["price"] for entry in prices if entry] == ["0.09", "0.09"]
    assert unpacked.troubles == []
    sent = await publish(calls, [file("world.csv", WORLD, 2)], [document(CALLS + "# again", 4)])
    (made_last,) = sent.json()["tariffs"]  # it begins at once, and replaces all of them, which is told
    assert [told.partition(",")[0] for told in made_last.pop("warnings")] == ["version 4"]
    assert made_last == {"id": "calls", "version": 5, "valid_from": None, "new": True}


REFUSED = [
    ([file("world.csv", WORLD + "49,Again,1\n")], [], "world.csv", "line 4"),
    ([file("world.csv", "prefix;zone\n49;Germany\n")], [], "calls", "rows[1].flat"),  # a follower no longer compiles
    ([file("parts/common.toml", "tables = 1\n")], [], "parts/common.toml", "tables"),
    ([file("spare.toml", "rows = 1\n")], [], "spare.toml", "rows"),
    ([file("spare.toml", "rows = \n")], [], "spare.toml", ""),
    ([file("new.csv", WORLD)], [document(FLAT.replace("price", "prize"))], "flat", "rows[1].flat"),
    ([file("new.csv", WORLD)], [document("currency = 'EUR'")], "tariffs[0]", "tariff"),
    ([file("new.csv", WORLD)], [document(FLAT.replace('"flat"', '"a b"'))], "tariffs[0]", "tariff"),
    ([], [document(FLAT), document(FLAT)], "tariffs[1]", "tariff"),
    ([], [document(f"valid_from = 0001-01-01T00:00:00+01:00\n{FLAT}")], "flat", "valid_from"),
    ([file("new.csv", WORLD), file("new.csv", WORLD)], [], "new.csv", ""),
    ([file("new.csv", WORLD) | {"media_type": "application/toml"}], [], "new.csv", "media_type"),
]


async def test_all_of_a_bundle_or_nothing(calls: ApiHarness) -> None:
    change = await calls.pool.fetchval("SELECT change FROM master")
    for files, tariffs, source, key in REFUSED:
        known = {"world.csv", "parts/common.toml"}
        refused = await publish(calls, [one | {"if_version": int(one["name"] in known)} for one in files], tariffs)
        problem = refused.json()
        assert (refused.status_code, problem["source"], problem["key"]) == (422, source, key), problem
        assert problem["detail"].startswith(source)
    assert len((await calls.call("GET", "/v1/tariff-files")).json()["items"]) == 2
    assert [one["version"] for one in (await calls.call("GET", "/v1/tariffs")).json()["items"]] == [1]
    assert await calls.pool.fetchval("SELECT change FROM master") == change


NO_NAMES = ["a.txt", "a", "../a.csv", "%2Fa.csv", "a/../b.csv", ".a.csv", "a b.csv", "a" * 130 + ".csv"]


async def test_names_that_are_none(harness: ApiHarness) -> None:
    for name in NO_NAMES:
        refused = await put_file(harness, WORLD, name.replace("/", "%2F"))
        assert refused.status_code == 422, name
        assert (await publish(harness, [file(name, WORLD)], [])).status_code == 422, name


async def test_versions_that_were_expected(calls: ApiHarness) -> None:
    dearer = WORLD.replace("0.07", "0.09")
    for wanted, status, kind in ((None, 428, "version-required"), (0, 412, "version-conflict"), (7, 412, None)):
        refused = await publish(calls, [file("world.csv", dearer, wanted)], [])
        assert (refused.status_code, refused.json()["name"], refused.json()["version"]) == (status, "world.csv", 1)
        assert refused.json()["type"] == f"urn:ocs:problem:{kind or 'version-conflict'}"
    absent = await publish(calls, [file("other.csv", WORLD, 3)], [document(FLAT, 0)])
    assert (absent.status_code, absent.json()["version"]) == (412, 0)
    assert (await calls.call("GET", "/v1/tariffs/flat")).status_code == 404
    bundle = [file("world.csv", dearer, 1)], [document(CALLS, 1), document(FLAT, 0)]
    assert made(await publish(calls, *bundle)) == {"world.csv": (2, True), "calls": (2, True), "flat": (1, True)}
    repeat = await publish(calls, *bundle)  # its answer was lost
    assert made(repeat) == {"world.csv": (2, False), "calls": (2, False), "flat": (1, False)}


async def test_many_publish_at_once(calls: ApiHarness) -> None:
    """Whatever the order, each version is compiled with the newest files there were."""

    async def table(number: int) -> None:
        made(await put_file(calls, f"{WORLD}{number + 100},Zone {number},1\n", if_match="*"))

    async def tariff(number: int) -> None:
        text = f"# {number}\n{CALLS}"
        done = await calls.call("PUT", "/v1/tariffs/calls", text, if_match="*", **TOML)
        assert done.status_code == 200, done.text

    await asyncio.gather(*(one(number) for number in range(5) for one in (table, tariff)))
    versions = (await calls.call("GET", "/v1/tariffs/calls/versions")).json()["items"]
    assert [one["version"] for one in versions] == [*range(11, 0, -1)]
    pins = [one["files"]["world.csv"] for one in reversed(versions)]
    assert pins == sorted(pins)
    assert (pins[0], pins[-1]) == (1, 6)


async def test_versions_by_page(calls: ApiHarness) -> None:
    later = f"valid_from = 2030-01-01T00:00:00+01:00\n{CALLS}"
    shown = await calls.call("PUT", "/v1/tariffs/calls", later, if_match="*", **TOML)
    assert shown.json()["valid_from"] == "2029-12-31T23:00:00Z"
    first = (await calls.call("GET", "/v1/tariffs/calls/versions?limit=1")).json()
    assert [(one["version"], one["valid_from"]) for one in first["items"]] == [(2, "2029-12-31T23:00:00Z")]
    rest = (await calls.call("GET", f"/v1/tariffs/calls/versions?before={first['next']}")).json()
    assert [(one["version"], one["valid_from"]) for one in rest["items"]] == [(1, None)]
    assert rest["next"] is None
    assert (await calls.call("GET", "/v1/tariffs/none/versions")).status_code == 404
    assert (await calls.call("GET", "/v1/tariffs")).json()["items"][0]["valid_from"] == "2029-12-31T23:00:00Z"


async def test_large_tables_are_let_in_and_only_they(harness: ApiHarness) -> None:
    """The server of the harness takes bodies of 100 kB."""
    large = "prefix,zone\n" + "".join(f"{prefix},Zone {prefix % 50}\n" for prefix in range(10_000, 30_000))
    assert len(large) > 200_000
    assert made(await put_file(harness, large, "large.csv")) == {"large.csv": (1, True)}
    assert made(await publish(harness, [file("other.csv", large)], [])) == {"other.csv": (1, True)}
    assert (await harness.call("PUT", "/v1/tariffs/flat", FLAT + "#" * 200_000, **TOML)).status_code == 201
    for method, path in (("PUT", "/v1/accounts/a1"), ("POST", "/v1/transfers"), ("GET", "/v1/tariffs")):
        assert (await harness.call(method, path, b" " * 200_000)).status_code == 413, path


async def test_text_of_any_script_comes_back(harness: ApiHarness) -> None:
    text = "\ufeffprefix;zone\r\n49;Österreich 🇦🇹\r\n"
    made(await put_file(harness, text))
    assert (await harness.call("GET", "/v1/tariff-files/world.csv")).json()["content"] == text
    assert (await put_file(harness, WORLD.encode("utf-16"), "x.csv")).status_code == 422  # type: ignore[arg-type]
    assert (await put_file(harness, "", "x.csv")).status_code == 422
    assert (await put_file(harness, WORLD, "x.csv", content_type="text/plain")).status_code == 415


LATE_ROW = """
[[rows]]
name = "roaming"
when = { service = "data", visited = "208*" }
flat = { price = "1.00", per = "1 MB" }
"""


async def test_rows_that_never_price_are_told_and_logged(harness: ApiHarness) -> None:
    demo = (resources.files("tariffs") / "examples" / "demo.toml").read_text()
    clean = await publish(harness, [], [document(demo)])
    assert [one["warnings"] for one in clean.json()["tariffs"]] == [[]]
    with capture_logs() as logged:
        again = await publish(harness, [], [document(demo + LATE_ROW, if_version=1)])
    (told,) = again.json()["tariffs"][0]["warnings"]
    assert told.startswith('row "roaming": never reached: "internet" above it has no limit and takes all its lines')
    assert [(one["event"], one["tariff"], one["version"], one["why"]) for one in logged] == [
        ("tariff.doubtful", "demo", 2, told)
    ]
    put = await harness.call("PUT", "/v1/tariffs/demo", demo + LATE_ROW + "# more\n", if_match='"2"', **TOML)
    assert (put.status_code, put.json()["warnings"]) == (200, [told])
    same = await harness.call("PUT", "/v1/tariffs/demo", demo + LATE_ROW + "# more\n", if_match='"3"', **TOML)
    assert (same.status_code, same.json()["warnings"]) == (200, [])  # nothing was published


async def test_a_new_table_may_make_rows_of_a_tariff_never_price(calls: ApiHarness) -> None:
    rows = 'tariff = "t"\ncurrency = "EUR"\n[tables]\nworld = "w.csv"\n[[rows]]\nname = "de"\n'
    rows += 'when = { to = "world:Germany" }\nflat = { price = "1", per = "1 min" }\n[[rows]]\nname = "rest"\n'
    rows += 'flat = { price = "1", per = "1 min" }\n'
    table = "prefix,zone\n49,Germany\n"
    assert (await publish(calls, [file("w.csv", table)], [document(rows)])).json()["tariffs"][0]["warnings"] == []
    table += "".join(f"49{digit},Elsewhere\n" for digit in range(10))
    found = await publish(calls, [file("w.csv", table, 1)], [])
    (follower,) = found.json()["tariffs"]
    assert "de" in follower["warnings"][0]


async def test_an_older_version_corrected_last_says_what_it_hides(harness: ApiHarness) -> None:
    """The newest that is valid counts, and newest is what was published last."""
    old, new = (FLAT.replace("\n", f"\nvalid_from = {day}T00:00:00Z\n", 1) for day in ("2026-01-01", "2026-03-01"))
    assert (await harness.call("PUT", "/v1/tariffs/flat", old, **TOML)).json()["warnings"] == []
    assert (await harness.call("PUT", "/v1/tariffs/flat", new, if_match='"1"', **TOML)).json()["warnings"] == []
    put = await harness.call("PUT", "/v1/tariffs/flat", old + "# corrected\n", if_match='"2"', **TOML)
    (told,) = put.json()["warnings"]
    assert told.startswith("version 2, ")
    assert "this one takes its place; publish it once more to keep it" in told
