"""That the benchmark can be trusted to read its instruments; nothing about how fast anything is."""

import io
import os
import subprocess
import sys
import time

from rich.console import Console

from tests.bench import processes, results
from tests.bench.whole import Latency, Whole, Yard
from tests.bench.yardsticks import echo


def test_cpu_is_read_per_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = processes.cpu_s(os.getpid())
        time.sleep(0.3)
        after = processes.cpu_s(os.getpid())
        assert child.pid in processes.below(os.getpid())
    finally:
        child.kill()
        child.wait()
    assert after["python"] - before["python"] >= 0.1
    assert processes.machine()["cores"]


async def test_the_echo_answers_all_in_order() -> None:
    async with echo() as pipe:
        count, seconds = await pipe.saturate(8, 0.2)
        assert count / seconds > 100
        p50, p99 = await pipe.pace(500, 0.3)
        assert 0 < p50 <= p99
        assert pipe.latency_us.get_total_count() > 100


def test_a_table_with_aims_and_ratios() -> None:
    cpu = {"worker": 50.0, "redis": 30.0, "postgres": 10.0, "supervisor": 0.1}
    ours = [Latency(1_000, 0.5, 2.0, 1_000), Latency(5_000, 1.0, 6.0, 4_000)]
    plain = [Latency(1_000, 0.2, 1.0, 1_000), Latency(5_000, 0.5, 2.0, 5_000)]
    whole = Whole("always", 1_000, 12_345, 17.0, cpu, ours, True, 0.2)
    found = results.row(whole, Yard("always", 50_000, 15.0, plain, plain))
    assert found["server us"] == 90.1
    assert found["redis / plain EVALSHA"] == 2.0
    assert found["p99 / echo p99 at 5000/s"] == 3.0
    assert found["reached at 5000/s"] == 4_000
    text = io.StringIO()
    results.show(Console(file=text, width=140), {"whole": {"always 1000": found}, "micro": {"decode": 7.0}})
    assert ">= 12000" in text.getvalue()
    assert "12,345" in text.getvalue()
