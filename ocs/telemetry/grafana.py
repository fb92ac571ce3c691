"""The dashboards as JSON that Grafana reads: `python -m ocs.telemetry.grafana DIRECTORY` writes a file for each.

The data source is a variable, so that one file serves any installation. Shape: Grafana's dashboard JSON model,
schema version 39 (Grafana 10 and later).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from ocs.telemetry.dashboards import DASHBOARDS, Dashboard, Panel, PanelKind, Section

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_ACROSS: Final = 24
"""Width of Grafana's grid."""


def grafana_of(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"ocs-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["ocs"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "links": [{"type": "dashboards", "tags": ["ocs"], "title": "OCS", "asDropdown": True, "includeVars": True}],
        "panels": list(_placed(dashboard.sections)),
    }


def _placed(sections: tuple[Section, ...]) -> Iterator[dict[str, Any]]:
    """Sections one below the other; of a section as many panels in a row as fit."""
    ids, y = count(1), 0
    for section in sections:
        yield {"id": next(ids), "type": "row", "title": section.title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": y, "w": _ACROSS, "h": 1}}  # fmt: skip
        y, x, tallest = y + 1, 0, 0
        for panel in section.panels:
            width, height = (4, 4) if panel.kind is PanelKind.NUMBER else (8, 8)
            if x + width > _ACROSS:
                x, y, tallest = 0, y + tallest, 0
            yield _panel(panel) | {"id": next(ids), "gridPos": {"x": x, "y": y, "w": width, "h": height}}
            x, tallest = x + width, max(tallest, height)
        y += tallest


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm_above is not None:
        steps.append({"color": "red", "value": panel.alarm_above})
    return {
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "expr": curve.query.replace("$interval", "$__rate_interval"),
                "legendFormat": curve.legend,
            }
            for at, curve in enumerate(panel.curves)
        ],
    }


def files() -> dict[str, bytes]:
    """Name of the file -> its octets."""
    return {
        f"{dashboard.name}.json": msgspec.json.format(msgspec.json.encode(grafana_of(dashboard)), indent=1) + b"\n"
        for dashboard in DASHBOARDS
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, octets in files().items():
        (folder / name).write_bytes(octets)


if __name__ == "__main__":
    main()
