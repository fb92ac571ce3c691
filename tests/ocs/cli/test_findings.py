"""`ocs tariff validate`: what it prints and when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocs.cli.root import cli

CLEAN = 'tariff = "flat"\ncurrency = "EUR"\n[[rows]]\nname = "all"\nflat = { price = "0.05", per = "1 min" }\n'
WARNED = CLEAN + '[[rows]]\nname = "never"\nflat = { price = "0.01", per = "1 min" }\n'
WRONG = (
    CLEAN.replace("flat = {", 'first = "1 min"\nflat = {')
    + '[[rows]]\nname = "mb"\nflat = { price = "1", per = "1 MB" }\n'
)

SHADOWED = 'row "never": warning shadowed: never reached'
UNITS = 'row "all" + "mb": error units: rating fails (5031)'


@pytest.mark.parametrize(
    ("text", "options", "code", "says", "complains"),
    [
        (CLEAN, [], 0, "", ""),
        (CLEAN, ["--strict"], 0, "", ""),
        (WARNED, [], 0, SHADOWED, ""),
        (WARNED, ["--strict"], 1, SHADOWED, "1 warning"),
        (WRONG, [], 1, UNITS, "1 error"),
        (CLEAN.replace("price", "prize"), [], 1, "", "1 of 1 refused"),
        (CLEAN.replace("EUR", "EUX"), [], 1, "", "1 of 1 refused"),
    ],
)
def test_findings(tmp_path: Path, text: str, options: list[str], code: int, says: str, complains: str) -> None:
    file = tmp_path / "t.toml"
    file.write_text(text)
    done = CliRunner().invoke(cli, ["tariff", "validate", str(file), *options])
    assert done.exit_code == code
    first, _, rest = done.stdout.partition("\n")
    assert first in ("", f"{file}: flat, EUR, {'2 rows' if text.count('[[rows]]') == 2 else '1 row'}")
    assert rest.startswith(f"{file}: {says}" if says else "")
    assert bool(rest) == bool(says)
    assert done.stderr.endswith(f"{complains}\n" if complains else "")


def test_a_currency_that_is_none(tmp_path: Path) -> None:
    """As publishing refuses it."""
    file = tmp_path / "t.toml"
    file.write_text(CLEAN.replace("EUR", "EUX"))
    done = CliRunner().invoke(cli, ["tariff", "validate", str(file)])
    assert done.exit_code == 1
    assert "t.toml: currency: expected an ISO 4217 code such as EUR, not EUX" in done.stderr


def test_one_document_for_programs(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.json"
    good.write_text(WARNED)
    bad.write_text("{")
    done = CliRunner().invoke(cli, ["tariff", "validate", str(good), str(bad), "--json", "--boundaries"])
    assert (done.exit_code, "1 of 2 refused" in done.stderr) == (1, True)
    first, second = json.loads(done.stdout)["files"]
    assert (first["tariff"], first["currency"], first["rows"]) == ("flat", "EUR", 2)
    (finding,) = first["findings"]
    assert (finding["severity"], finding["rule"], finding["where"]) == ("warning", "shadowed", 'row "never"')
    assert [(one["units"], one["price"]) for one in first["boundaries"]] == [
        (1, "0.05"),
        (59, "0.05"),
        (60, "0.05"),
        (61, "0.1"),
    ]
    assert set(first["boundaries"][0]) == {"when", "line", "what", "units", "unit", "price", "tag"}
    assert second["refused"].startswith(f"{bad}: is not JSON")


def test_boundaries_as_a_table(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(CLEAN)
    done = CliRunner().invoke(cli, ["tariff", "validate", str(file), "--boundaries"])
    assert done.exit_code == 0
    assert "boundaries of flat, EUR" in done.stdout
    assert "one block + 1" in done.stdout


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("voice", "", []),
        ("voi*", "", []),
        ("voise", "", ['(data, voice, sms, mms, generic): did you mean "voice"?']),
        ("tv", "", ["a new one is declared by [charging.services.tv]"]),
        ("tv", '[charging.services.tv]\ncontexts = ["tv@example.net"]\nunit = "seconds"\n', []),
    ],
)
def test_services_that_nobody_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, config: str, says: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.toml").write_text(CLEAN + f'when = {{ service = "{name}" }}\n')
    (tmp_path / "other.toml").write_text(config)
    words = ["tariff", "validate", "t.toml", "--config", "other.toml"]
    done = CliRunner().invoke(cli, words)
    found = [line for line in done.stdout.splitlines() if "service-unknown" in line]
    assert (done.exit_code, len(found)) == (0, len(says)), done.output
    for line, text in zip(found, says, strict=True):
        assert line.startswith(f't.toml: row "all": warning service-unknown: no service "{name}" is configured')
        assert line.endswith(text)
    assert CliRunner().invoke(cli, [*words, "--strict"]).exit_code == len(says)


def test_two_documents_with_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(CLEAN)
    done = CliRunner().invoke(cli, ["tariff", "validate", "a.toml", "b.toml"])
    assert "b.toml: tariff: warning same-id: a.toml has the id 'flat' too" in done.stdout
    assert "same-id" not in CliRunner().invoke(cli, ["tariff", "validate", "a.toml", "a.toml"]).stdout


@pytest.mark.parametrize("config", ["", "[charging.services.data.grades.slow]\ndown_bps = 64000\n"])
def test_a_grade_that_no_configuration_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.toml").write_text(CLEAN + 'when = { service = "data" }\ngrade = "slow"\n')
    (tmp_path / "other.toml").write_text(config)
    done = CliRunner().invoke(cli, ["tariff", "validate", "t.toml", "--config", "other.toml"])
    found = [line for line in done.stdout.splitlines() if "grade-unknown" in line]
    assert (done.exit_code, len(found)) == (0, 0 if config else 1), done.output
    assert config or 'no service of its lines has a grade "slow"' in found[0]
