"""What is shipped for Prometheus and Grafana speaks of metrics that exist; promtool is the judge of the rules."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocs.telemetry.dashboards import DASHBOARDS
from ocs.telemetry.grafana import files
from ocs.telemetry.metrics import BY_NAME, MetricKind
from tests.servers import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
OF_THE_SCRAPE = {"instance", "job"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def every_query() -> Iterator[tuple[str, str]]:
    for dashboard in DASHBOARDS:
        for section in dashboard.sections:
            for panel in section.panels:
                for curve in panel.curves:
                    yield f"{dashboard.name}: {panel.title}", curve.query
    for rule in rules():
        yield str(rule.get("alert") or rule["record"]), rule["expr"]


def test_the_dashboards_are_as_described() -> None:
    folder = ROOT / "deploy/grafana/dashboards"
    there = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert there == files(), "python -m ocs.telemetry.grafana deploy/grafana/dashboards"


def test_queries_name_metrics_and_labels_that_exist() -> None:
    for where, query in every_query():
        names_what_exists(where, query)


def names_what_exists(where: str, query: str) -> None:
    names = re.findall(r"\bocs_[a-z_]+", query)
    assert names or "up{" in query or "ocs:" in query, where
    labels = set[str]()
    for name in names:
        metric = BY_NAME.get(name) or BY_NAME.get(name.removesuffix("_bucket"))
        assert metric is not None, name
        assert name.endswith("_bucket") == (metric.kind is MetricKind.HISTOGRAM), name
        labels |= {*metric.labels, *OF_THE_SCRAPE} | ({"le"} if metric.kind is MetricKind.HISTOGRAM else set())
    named = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    for _, selector in re.findall(r"\b(ocs_[a-z_]+)\{([^}]*)\}", query):
        named |= set(re.findall(r"([a-z_]+)\s*[=!]", selector))
    assert not names or named <= labels, where


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    sections = set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE))
    assert sections == {rule["alert"] for rule in ALERTS}
    for part in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]:
        for what in ("**Means**", "**Look at**", "**Do**", "**Do not**"):
            assert what in part, (part[:30], what)
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_each_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    expected = {
        (case["alertname"], bool(case["exp_alerts"])) for test in tests for case in test["alert_rule_test"]
    }  # fmt: skip
    assert expected == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")],
    ids=" ".join,
)
def test_promtool_agrees(command: tuple[str, ...], tmp_path: Path) -> None:
    told = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
