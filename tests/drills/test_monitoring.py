"""A real Prometheus scrapes a real server under load, with the shipped rules; each query of the dashboards is
asked."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocs.telemetry.dashboards import DASHBOARDS
from tests.bench.server import BenchServer, running
from tests.servers import ROOT

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus"),
]

WAIT_S = 60.0


class Scraper:
    """A Prometheus of its own, in a directory of its own."""

    def __init__(self, home: Path, target: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.home = home
        shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        shipped["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (home / "prometheus.yml").write_text(yaml.safe_dump(shipped))
        shutil.copy(ROOT / "deploy/prometheus/rules.yml", home)

    async def __aenter__(self) -> Scraper:
        self._process = await asyncio.create_subprocess_exec(
            "prometheus", f"--config.file={self.home}/prometheus.yml", f"--storage.tsdb.path={self.home}/data",
            f"--web.listen-address={self.address}", "--log.level=error",
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of an instant query; an AssertionError where it is refused."""
        return (await self._get("query", query=query))["result"]  # type: ignore[no-any-return]

    async def until_some(self, query: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    if found := await self.ask(query):
                        return found
                except OSError:
                    assert self._process.returncode is None, "it did not start"
                await asyncio.sleep(0.2)

    async def alerts(self) -> set[str]:
        """Those that fire."""
        told = await self._get("alerts")
        return {one["labels"]["alertname"] for one in told["alerts"] if one["state"] == "firing"}

    async def _get(self, what: str, **query: str) -> dict[str, Any]:
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(query)}"
        body = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read()))
        assert body["status"] == "success", body
        return body["data"]  # type: ignore[no-any-return]


async def play(server: BenchServer, seconds: int) -> None:
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtest", "--diameter", f"127.0.0.1:{server.diameter_port}", "--http", server.url,
        "--token-file", str(server.data / "admin.token"), "--provision", "20", "--rate", "50",
        "--duration", str(seconds), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await load.communicate()
    assert load.returncode == 0, output.decode()


async def test_every_query_of_the_dashboards_has_series(tmp_path: Path) -> None:
    async with (
        running("workers=2") as server,
        Scraper(tmp_path, f"127.0.0.1:{server.metrics_port}") as scraper,
    ):
        playing = asyncio.create_task(play(server, 20))
        await scraper.until_some('rate(ocs_requests_total{type="TERMINATION"}[30s]) > 0')
        empty = []
        for dashboard in DASHBOARDS:
            for section in dashboard.sections:
                for panel in section.panels:
                    for curve in panel.curves:
                        query = curve.query.replace("$interval", "30s")
                        if curve.quiet:  # may have none; is understood
                            await scraper.ask(query)
                        elif not await scraper.ask(query):
                            empty.append(f"{dashboard.name}: {panel.title}: {query}")
        assert not empty, empty
        assert await scraper.until_some('ocs:request_duration_seconds:p99{protocol="diameter"}')
        assert not await scraper.alerts()
        await playing
