"""That the benchmark can be trusted to read its instruments; nothing about how fast anything is."""

import io
import os
import subprocess
import sys
import time

from rich.console import Console

from tests.bench import processes, results
from tests.bench.driver import Driven, arguments, read
from tests.bench.whole import Latency, Whole, Yard
from tests.bench.yardsticks import echo


def test_cpu_is_read_per_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = processes.cpu_s(os.getpid())
        ends_s = time.monotonic() + 60
        while processes.cpu_s(os.getpid())["python"] - before["python"] < 0.1:  # however little of a core it gets
            assert time.monotonic() < ends_s
            time.sleep(0.05)
        assert child.pid in processes.below(os.getpid())
    finally:
        child.kill()
        child.wait()
    assert processes.machine()["cores"]


async def test_the_echo_answers_all_in_order() -> None:
    async with echo() as pipe:
        count, seconds = await pipe.saturate(8, 0.2)
        assert count > 0 < seconds
        p50, p99 = await pipe.pace(500, 0.3)
        assert 0 < p50 <= p99
        assert pipe.latency_us.get_total_count() > 0


def test_a_table_with_aims_and_ratios() -> None:
    cpu = {"worker": 50.0, "redis": 30.0, "postgres": 10.0, "supervisor": 0.1}
    ours = [Latency(1_000, 0.5, 2.0, 1_000), Latency(5_000, 1.0, 6.0, 4_000)]
    plain = [Latency(1_000, 0.2, 1.0, 1_000), Latency(5_000, 0.5, 2.0, 5_000)]
    in_c = Driven(4_321.0, 9.5, 21.0, 0)
    whole = Whole("always", 1_000, 12_345, 17.0, cpu, ours, True, 0.2, in_c, in_c._replace(p99_ms=4.0))
    found = results.row(whole, Yard("always", 50_000, 15.0, plain, plain))
    assert found["server us"] == 90.1
    assert found["redis / plain EVALSHA"] == 2.0
    assert found["server / plain EVALSHA"] == 6.01
    assert found["p99 / EVALSHA p99 at 1000/s"] == 2.0
    assert (found["C client: CCR/s"], found["C client: p99 at 1000/s ms"]) == (4_321, 4.0)
    assert found["p99 / echo p99 at 5000/s"] == 3.0
    assert found["reached at 5000/s"] == 4_000
    text = io.StringIO()
    results.show(Console(file=text, width=140), {"whole": {"always 1000": found}, "micro": {"decode": 7.0}})
    assert "<= 2.2" in text.getvalue()
    assert "12,345" in text.getvalue()


def test_what_the_client_in_c_says_is_read() -> None:
    said = (
        "mode=closed secs=2.00 answers=8000 rate=4000.5 ok=7990 p50=12.50ms p90=20.00ms p99=31.25ms p999=40ms late=0 "
        "unanswered=1 calib_mem_ns=9\n  CCR-I: 2001=10 4012=2 gsu=8 mean_grant=10\n"
        "  all_answers=8100 all_bad=2 used_octets_reported=5 sessions_closed=3 mscc_not_2001=4\n"
    )
    assert read(said) == Driven(4000.5, 12.5, 31.25, 7)
    assert " ".join(arguments(3868, 1_000, 2.0, 64, 0)).endswith("-n 64 -s 500 -S 999 -i 0010199 -W 8 -I 1 -G 10")
    assert "-r 500" in " ".join(arguments(3868, 1_000, 2.0, 64, 500))
