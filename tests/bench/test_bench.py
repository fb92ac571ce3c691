"""That the benchmark can be trusted to read its instruments; nothing about how fast anything is."""

import io
import os
import subprocess
import sys
import time

from rich.console import Console

from tests.bench import processes, results
from tests.bench.driver import Driven, arguments, read
from tests.bench.tail import Paths, follow, spent
from tests.bench.trace import Socket, Trace
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


def test_a_request_is_followed_through_what_the_kernel_saw() -> None:
    client, worker, store, keeper = 1, 2, 3, 4

    def call(at_us: int, pid: int, name: str, descriptor: int, result: int = 9) -> list[str]:
        at = f"0.{at_us * 1_000:09}"
        return [
            f" {pid} [000] {at}: syscalls:sys_enter_{name}: fd: 0x{descriptor:08x}, buf: 0x0",
            f" {pid} [000] {at}: syscalls:sys_exit_{name}: 0x{result & (1 << 64) - 1:x}",
        ]

    def switch(at_us: int, before: int, state: str, after: int) -> str:
        tasks = f"prev_comm=a prev_pid={before} prev_prio=120 prev_state={state} ==> next_comm=b next_pid={after}"
        return f" {before} [000] 0.{at_us * 1_000:09}: sched:sched_switch: {tasks} next_prio=120"

    def wakeup(at_us: int, pid: int) -> str:
        return f" 9 [001] 0.{at_us * 1_000:09}: sched:sched_wakeup: comm=a pid={pid} prio=120 target_cpu=000"

    found = Trace([client, worker, store, keeper])
    for line in (
        switch(0, 0, "R", client),
        *call(10, client, "sendto", 5),
        wakeup(10, worker),
        switch(20, client, "S", keeper),
        switch(120, keeper, "R+", worker),  # for so long the worker waited
        *call(130, worker, "read", 7),
        *call(150, worker, "write", 8),
        wakeup(150, store),
        switch(160, worker, "S", store),
        *call(165, store, "read", 11, -11),  # nothing was there yet
        *call(170, store, "read", 11),
        switch(200, store, "D", 0),
        switch(260, 0, "R", store),
        *call(270, store, "write", 11),
        switch(280, store, "S", worker),
        *call(290, worker, "read", 8),
        *call(300, worker, "write", 7),
        switch(310, worker, "S", client),
    ):
        found.line(line)
    role = {client: "client", worker: "worker", store: "redis", keeper: "keeper"}
    ends = {worker: Socket(store, 11)}
    paths = Paths(client, store, {5: Socket(worker, 7)}, ends, {worker: 8}, role, {11: "worker"})
    one = follow(found, paths, 5, 0, 320_000)
    assert one is not None
    assert follow(found, paths, 5, 20_000, 320_000) is None  # it was not sent after that
    micros = {what: ns // 1_000 for what, ns in spent(found, paths, one).items()}
    assert sum(micros.values()) == 320
    assert micros["worker waits for a CPU, which runs: keeper"] == 100
    assert micros["store runs for: worker"] == 30 + 10
    assert micros["store waits for the disk"] == 60
    assert found.of[store].goes(0, 320_000) == [40_000, 20_000]
