"""Tariffs with the files they name, tables and exchange rates from the command line."""

import json
from pathlib import Path

from click.testing import CliRunner

from ocs.cli.root import cli
from tests.ocs.api_harness import FLAT, ApiHarness
from tests.ocs.cli.conftest import Run

CALLS = """
tariff = "calls"
currency = "EUR"
include = ["parts/common.toml"]

[[rows]]
when = { service = "voice", to = "world" }
flat = { price = "to.price", per = "1 min" }
"""

WORLD = "# July\nzone;prefix;price\nGermany;49;0.05\nEurope;33 34;0.07\n"
CANONICAL = "prefix,zone,price\n33,Europe,0.07\n34,Europe,0.07\n49,Germany,0.05\n"


def write(folder: Path, **more: str) -> None:
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    files = {"calls.toml": CALLS, "parts/common.toml": 'tables = { world = "world.csv" }\n', "world.csv": WORLD}
    for name, text in (files | more).items():
        (folder / name).write_text(text)


async def test_a_document_brings_its_files(ocs: Run, tmp_path: Path) -> None:
    write(tmp_path / "prices", **{"flat.toml": FLAT})
    done = await ocs("tariff", "load", "prices/calls.toml", "prices/flat.toml")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "parts/common.toml: version 1",
        "world.csv: version 1",
        "calls: version 1",
        "flat: version 1",
    ]
    write(tmp_path / "prices", **{"world.csv": WORLD.replace("0.07", "0.08")})
    again = await ocs("tariff", "load", "prices/calls.toml", "prices/flat.toml")
    assert again.stdout.splitlines() == [
        "parts/common.toml: version 1, unchanged",
        "world.csv: version 2",
        "calls: version 2",
        "flat: version 1, unchanged",
    ]
    versions = (await ocs("tariff", "versions", "calls")).stdout
    assert "parts/common.toml version 1, world.csv version 2" in versions
    assert "always" in (await ocs("tariff", "list")).stdout
    listed = json.loads((await ocs("tariff", "table", "list", "--json")).stdout)["items"]
    assert [(one["name"], one["version"]) for one in listed] == [("parts/common.toml", 1), ("world.csv", 2)]
    assert "world.csv" in (await ocs("tariff", "table", "list")).stdout


async def test_rows_that_never_price_are_told(ocs: Run, tmp_path: Path) -> None:
    late = '[[rows]]\nname = "late"\nwhen = { service = "data", apn = "x" }\nflat = { price = "1", per = "1 min" }\n'
    (tmp_path / "flat.toml").write_text(FLAT + late)
    done = await ocs("tariff", "load", "flat.toml")
    assert done.exit_code == 0
    assert done.stdout.endswith("flat: version 1\n")  # the server of this test logs to the same place
    assert done.stderr.startswith('flat: warning: row "late": never reached: ')


async def test_two_documents_of_one_id_are_not_loaded_together(ocs: Run, tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(FLAT)
    done = await ocs("tariff", "load", "a.toml", "b.toml")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: b.toml: a.toml has the id 'flat' too: loaded together, they are refused\n",
    )


async def test_what_is_not_beside_the_document_is_the_servers(ocs: Run, tmp_path: Path) -> None:
    write(tmp_path / "all")
    (tmp_path / "calls.toml").write_text(CALLS)
    nowhere = await ocs("tariff", "load", "calls.toml")
    assert (nowhere.exit_code, nowhere.stdout) == (1, "")
    assert "parts/common.toml" in nowhere.stderr
    assert (await ocs("tariff", "load", "all/calls.toml")).exit_code == 0
    assert (await ocs("tariff", "load", "calls.toml")).stdout == "calls: version 1, unchanged\n"


async def test_nothing_of_a_bundle_that_is_refused(ocs: Run, tmp_path: Path) -> None:
    write(tmp_path, **{"flat.toml": FLAT.replace("price", "prize")})
    refused = await ocs("tariff", "load", "calls.toml", "flat.toml")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "flat: rows[1].flat" in refused.stderr
    assert json.loads((await ocs("tariff", "list", "--json")).stdout)["items"] == []
    write(tmp_path / "other", **{"parts/common.toml": "tables = {}\n"})
    both = await ocs("tariff", "load", "calls.toml", "other/calls.toml")
    assert (both.exit_code, "parts/common.toml" in both.stderr) == (1, True)
    (tmp_path / "latin.toml").write_bytes(FLAT.encode() + b"# \xe9\n")
    assert "latin.toml" in (await ocs("tariff", "load", "latin.toml")).stderr


async def test_a_table_goes_out_and_comes_back(ocs: Run, tmp_path: Path) -> None:
    write(tmp_path)
    await ocs("tariff", "load", "calls.toml")
    assert (await ocs("tariff", "table", "export", "world.csv")).stdout == CANONICAL
    (tmp_path / "new.csv").write_text(CANONICAL.replace("0.05", "0.04"))
    done = await ocs("tariff", "table", "import", "new.csv", "--as", "world.csv")
    assert done.stdout == "world.csv: version 2\ncalls: version 2\n"
    assert (await ocs("tariff", "table", "import", "new.csv", "--as", "world.csv")).stdout == (
        "world.csv: version 2, unchanged\n"
    )
    await ocs("tariff", "table", "export", "world.csv", "--version", "1", "-o", "old.csv")
    assert (tmp_path / "old.csv").read_text() == CANONICAL
    assert (await ocs("tariff", "table", "export", "parts/common.toml")).stdout.startswith("tables")
    (tmp_path / "bad.csv").write_text("prefix,zone\nx,y\n")
    bad = await ocs("tariff", "table", "import", "bad.csv")
    assert (bad.exit_code, "bad.csv line 2" in bad.stderr) == (1, True)
    assert (await ocs("tariff", "table", "import", "new.csv", "--as", "world")).exit_code == 2
    assert (await ocs("tariff", "table", "export", "none.csv")).exit_code == 1
    assert (await ocs("tariff", "table", "export", "world.csv", "-o", "no/where.csv")).exit_code == 1


async def test_rates(ocs: Run) -> None:
    done = await ocs("tariff", "rates", "set", "2026-03-01", "USD/EUR=0.9231", "GBP/EUR=1.15")
    assert done.exit_code == 0, done.output
    await ocs("tariff", "rates", "set", "2026-03-02", "USD/EUR=0.93")
    shown = json.loads((await ocs("tariff", "rates", "show", "--on", "2026-03-01", "--json")).stdout)
    assert [(one["of"], one["into"], one["rate"]) for one in shown["items"]] == [
        ("GBP", "EUR", "1.15"),
        ("USD", "EUR", "0.9231"),
    ]
    assert "USD/EUR" in (await ocs("tariff", "rates", "show")).stdout
    for wrong, code in (("USD/EUR=", 2), ("USD=1", 2), ("USD/EUR=0", 1), ("USD/QQQ=1", 1)):
        assert (await ocs("tariff", "rates", "set", "2026-03-01", wrong)).exit_code == code, wrong
    assert (await ocs("tariff", "rates", "set", "yesterday", "USD/EUR=1")).exit_code == 1


async def test_attributes(ocs: Run, harness: ApiHarness) -> None:
    await harness.account("a1")
    first = ("--account", "a1", "--attribute", "segment=gold", "--attribute", "note=a=b")
    assert (await ocs("subscriber", "set", "s1", *first)).exit_code == 0
    await ocs("subscriber", "set", "s1", "--barred")
    assert "note=a=b, segment=gold" in (await ocs("subscriber", "show", "s1")).stdout
    changed = await ocs("subscriber", "set", "s1", "--attribute", "note=", "--attribute", "cap=5", "--json")
    assert json.loads(changed.stdout)["attributes"] == {"segment": "gold", "cap": "5"}
    assert (await ocs("subscriber", "set", "s1", "--attribute", "segment")).exit_code == 2
    assert (await ocs("subscriber", "set", "s1", "--attribute", "a b=c")).exit_code == 1


def test_includes_are_resolved_from_disk(tmp_path: Path) -> None:
    write(tmp_path, **{"stray.toml": CALLS.replace("parts/common", "../stray")})
    (tmp_path / "secret.toml").write_text("x")
    done = CliRunner().invoke(cli, ["tariff", "validate", str(tmp_path / "calls.toml")])
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, f"{tmp_path}/calls.toml: calls, EUR, 1 row")
    (tmp_path / "world.csv").write_text(WORLD.replace("0.07", "cheap"))
    refused = CliRunner().invoke(cli, ["tariff", "validate", str(tmp_path / "calls.toml")])
    assert (refused.exit_code, "cheap" in refused.stderr) == (1, True)
    (tmp_path / "world.csv").unlink()
    for name, missing in (("calls", "world.csv"), ("stray", "../stray.toml")):
        refused = CliRunner().invoke(cli, ["tariff", "validate", str(tmp_path / f"{name}.toml")])
        assert (refused.exit_code, missing in refused.stderr) == (1, True)
