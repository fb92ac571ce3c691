"""What is shipped for containers, Kubernetes and systemd, judged by the tools of each where they are."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ocs.config import load
from tests.servers import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/ocs.service"
PACKAGES = ("protocol", "tariffs", "balances", "ocs", "loadtest")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    told = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout + told.stderr


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


def test_the_wheel_has_every_file_that_the_server_reads(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ".")
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".lua", ".sql", ".toml")
    }
    assert ours <= packed, ours - packed


def test_hadolint_finds_nothing_in_the_containerfile() -> None:
    assert run(tool("hadolint"), DEPLOY / "container/Containerfile") == ""


def test_the_containerfile_copies_what_the_ignore_file_lets_through() -> None:
    lines = (DEPLOY / "container/Containerfile").read_text().splitlines()
    copied = {
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name.rstrip("/") for name in copied} == let_through


@pytest.mark.parametrize("file", ["container/ocs.toml", "kubernetes/ocs.toml"])
def test_configurations_load_with_the_environment_they_are_given(file: str) -> None:
    named = {"OCS_REDIS__URL": "redis://store:6379", "OCS_POSTGRES__DSN": "postgresql://ocs:x@db/ocs"}
    config = load(DEPLOY / file, environ=named)
    assert str(config.http.listen) == "0.0.0.0:8080"
    assert config.redis.url.reveal() == "redis://store:6379"


def test_compose_names_files_that_exist_and_keys_that_are_known() -> None:
    folder = DEPLOY / "container"
    services: dict[str, Any] = yaml.safe_load((folder / "compose.yml").read_text())["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (folder / source).exists(), source
    given = {name: "redis://x" if "REDIS" in name else "postgresql://x/y" for name in services["ocs"]["environment"]}
    load(folder / "ocs.toml", environ=given)
    target = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0][
        "targets"
    ]
    assert target == ["ocs:9464"]


def test_kubernetes_objects_are_valid() -> None:
    objects = list(yaml.safe_load_all(run(tool("kubectl"), "kustomize", DEPLOY / "kubernetes")))
    assert {one["kind"] for one in objects} >= {"StatefulSet", "Service", "PodDisruptionBudget", "ConfigMap"}
    for one in objects:
        kubernetes_validate.validate(one, "1.31", strict=True)
    (pods,) = (one["spec"] for one in objects if one["kind"] == "StatefulSet")
    # A Service named ocs-... would put OCS_... into the environment, and OCS_* are keys of the configuration.
    assert pods["template"]["spec"]["enableServiceLinks"] is False
    named = {port["name"] for port in pods["template"]["spec"]["containers"][0]["ports"]}
    for service in (one["spec"] for one in objects if one["kind"] == "Service"):
        assert service["selector"] == pods["selector"]["matchLabels"]
        assert {port["targetPort"] for port in service["ports"]} <= named


def test_systemd_understands_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    (there := tmp_path / "ocs.service").write_text(UNIT.read_text().replace("/opt/ocs/bin/ocs", "/bin/true"))
    verified = subprocess.run([analyze, "verify", "--man=no", there], capture_output=True, text=True, check=False)
    assert "ocs.service" not in verified.stderr, verified.stderr
    run(analyze, "security", "--offline=true", "--threshold=20", there)
