"""What surrounds the code: locks, licence, and that what the README says to type can be typed."""

import re
import subprocess
import tomllib

import pytest

from balances.migrations.migrate import migrations
from tests.shape.source import PACKAGES, ROOT, files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["runtime.txt", "servers.txt", "build.txt", "dev.txt", "charts.txt"]
MARKDOWN = [path for path in files(".md", *PACKAGES, "deploy", "tests") if "/." not in path] + ["README.md"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in requirements}


def locked(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / file).read_text(), re.M))


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("runtime.txt", names(PROJECT["project"]["dependencies"])),
        ("servers.txt", names(PROJECT["project"]["optional-dependencies"]["embedded"])),
        ("build.txt", names(PROJECT["dependency-groups"]["build"])),
        ("charts.txt", names(PROJECT["dependency-groups"]["charts"])),
        ("dev.txt", names(PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"])),
    ],
)
def test_the_locks_follow_the_project_file(file: str, wanted: set[str]) -> None:
    assert wanted - set(locked(file)) == set(), "run `make lock`"


def test_tests_run_on_what_is_deployed() -> None:
    assert locked("runtime.txt").items() <= locked("dev.txt").items()


@pytest.mark.parametrize("file", LOCKS)
def test_a_lock_has_hashes_and_names_no_host(file: str) -> None:
    lock = (ROOT / "requirements" / file).read_text()
    assert lock.count("--hash=sha256:") >= len(locked(file))
    assert not re.search(r"https?://|index-url|find-links", lock)


def test_no_lock_that_names_hosts() -> None:
    assert [name for name in ("uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock") if (ROOT / name).exists()] == []


def test_every_package_is_built_and_checked() -> None:
    assert tuple(PROJECT["tool"]["hatch"]["build"]["packages"]) == PACKAGES
    assert set(PACKAGES) <= set(PROJECT["tool"]["mypy"]["packages"])
    assert set(PACKAGES) <= set(PROJECT["tool"]["importlinter"]["root_packages"])


def shell_lines(markdown: str) -> list[str]:
    blocks = re.findall(r"^```(?:sh|shell|bash|console)\n(.*?)^```", (ROOT / markdown).read_text(), re.M | re.S)
    return [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("markdown", MARKDOWN)
def test_make_targets_in_text_exist(markdown: str) -> None:
    text = (ROOT / markdown).read_text()
    told = {words[1] for line in shell_lines(markdown) if (words := line.split())[0] == "make" and len(words) > 1}
    told |= set(re.findall(r"`make ([a-z]+)`", text))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert told - targets == set()


@pytest.mark.parametrize("markdown", MARKDOWN)
def test_relative_links_lead_somewhere(markdown: str) -> None:
    here = (ROOT / markdown).parent
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (ROOT / markdown).read_text())
    assert [link for link in links if not (here / link).exists()] == []


def test_make_help_lists_what_the_readme_promises() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "bench", "fuzz"):
        assert f"make {target}" in shown


def test_each_migration_has_a_number_of_its_own() -> None:
    """Two landed beside each other may have taken one."""
    assert len(migrations()) == len(list((ROOT / "balances/migrations").glob("*.sql")))
