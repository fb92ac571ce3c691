"""The whole server as its operator meets it: `ocs run`, real processes, embedded stores."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ocs.rerating.find_postgres import embedded_dsn
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    DisconnectPeerAnswer,
    DisconnectPeerRequest,
)
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlAnswer,
    MultipleServicesCreditControl,
    RequestedServiceUnit,
    SubscriptionId,
    SubscriptionIdType,
    UsedServiceUnit,
)
from protocol.diameter.message import DiameterCommand
from tests.ocs.net.world import OctetPeer, ccr, cer
from tests.ocs.running import RunningServer, alive, cmdline, readyz

pytestmark = pytest.mark.serial


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    server = RunningServer(tmp_path)
    children: list[int] = []
    try:
        yield server.ready()
        children = server.descendants()
    finally:
        if server.process.poll() is None:
            server.stop()
        if server.process.poll() is None:
            server.process.kill()
    assert not [pid for pid in children if alive(pid)]


SUBSCRIPTION = SubscriptionId(
    subscription_id_type=SubscriptionIdType.END_USER_E164, subscription_id_data="491700000001"
)


def request(kind: CcRequestType, number: int, used: int | None = None, session: str = "pgw.example.net;9;9") -> bytes:
    line = MultipleServicesCreditControl(
        rating_group=10,
        requested_service_unit=None if kind == CcRequestType.TERMINATION_REQUEST else RequestedServiceUnit(),
        used_service_unit=() if used is None else (UsedServiceUnit(cc_total_octets=used),),
    )
    return ccr(
        number, session=session, cc_request_type=kind, subscription_id=(SUBSCRIPTION,),
        multiple_services_credit_control=(line,),
    )  # fmt: skip


async def connected(server: RunningServer, host: str = "pgw.example.net") -> OctetPeer:
    client = await OctetPeer.connect(server.address("diameter")[1])
    return await client.open(host)


async def answer(client: OctetPeer) -> CreditControlAnswer:
    message: DiameterCommand = await client.message(timeout_s=10)
    assert isinstance(message, CreditControlAnswer), message
    return message


async def test_a_day_in_the_life(server: RunningServer) -> None:
    """A session is charged; a worker dies and nothing of what was counted is lost; the end is an orderly one."""
    client = await connected(server)
    client.send(request(CcRequestType.INITIAL_REQUEST, 0))
    first = await answer(client)
    assert first.result_code == 2001
    granted = first.multiple_services_credit_control[0].granted_service_unit
    assert granted is not None
    assert granted.cc_total_octets
    client.send(request(CcRequestType.UPDATE_REQUEST, 1, used=1_048_576))
    assert (await answer(client)).result_code == 2001
    name = 'ocs_requests_total{command="CCR",protocol="diameter",result="2001",type="INITIAL"}'
    server.wait(lambda: server.metric(name) == 1.0, 30)
    server.wait(lambda: server.metric('ocs_peers_up{protocol="diameter"}') == 1.0, 30)
    server.wait(lambda: server.metric("ocs_sessions_open") == 1.0, 30)
    server.wait(lambda: server.metric('ocs_store_call_duration_seconds_count{call="charge"}') == 2.0, 30)
    server.wait(lambda: server.metric('ocs_debited_money_total{currency="EUR",service="data"}') == 0.01, 30)

    workers = server.workers()
    assert len(workers) == 4  # two workers, keeper, api
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert await client.frame() == b""
    await client.gone()
    server.wait(lambda: server.metric('ocs_process_restarts_total{role="worker"}') == 2.0, 30)
    server.wait(lambda: server.metric('ocs_processes{role="worker",state="ready"}') == 2.0, 30)
    assert server.metric(name) == 1.0
    # What is open and held is in the store: it is not forgotten with those who counted it.
    server.wait(lambda: server.metric('ocs_held_money{currency="EUR"}') > 0.0, 30)
    assert (server.metric("ocs_sessions_open"), server.metric("ocs_holds")) == (1.0, 1.0)

    client = await connected(server)
    client.send(request(CcRequestType.TERMINATION_REQUEST, 2, used=1))
    assert (await answer(client)).result_code == 2001
    client.send(request(CcRequestType.TERMINATION_REQUEST, 2, used=1))  # the same again: the same answer
    assert (await answer(client)).result_code == 2001
    server.wait(lambda: server.metric("ocs_sessions_open") == 0.0 == server.metric("ocs_holds"), 30)
    assert server.metric('ocs_held_money{currency="EUR"}') == 0.0

    server.process.send_signal(signal.SIGTERM)
    parting = await client.message()
    assert isinstance(parting, DisconnectPeerRequest)
    dpa = DisconnectPeerAnswer(result_code=2001, origin_host="pgw.example.net", origin_realm="example.net")
    client.send(dpa.answer(parting))
    await client.closed()
    await client.gone()
    assert await asyncio.to_thread(server.process.wait, 20) == 0
    assert '"level":"error"' not in server.text.replace('"event":"child.ended"', "").split('"stopping"')[1]


async def test_it_is_up_when_the_tariffs_are_in_force(tmp_path: Path) -> None:
    """Not a moment before: `ocs is up`, /readyz and the Diameter port all wait for the demo's tariffs."""
    server = RunningServer(tmp_path)
    try:
        server.wait(lambda: "ocs is up" in server.text)
        assert readyz(server) == 200
        for number in range(6):  # on both workers
            client = await connected(server, f"peer-{number}.example.net")
            client.send(request(CcRequestType.INITIAL_REQUEST, 0, session=f"peer;{number}"))
            assert (await answer(client)).result_code == 2001
            await client.gone()
        server.wait(
            lambda: server.metric('ocs_requests_total{command="readyz",protocol="http",result="200",type="GET"}')
        )
        assert server.metric('ocs_process_resident_memory_bytes{role="worker"}') > 10_000_000
        assert server.metric('ocs_process_open_fds{role="supervisor"}') > 5
        server.wait(lambda: server.metric("ocs_store_memory_bytes") > 0)
    finally:
        assert server.stop() == 0


def test_hang_up_does_not_stop_it(server: RunningServer) -> None:
    children = server.descendants()
    server.process.send_signal(signal.SIGHUP)
    for pid in server.workers():
        os.kill(pid, signal.SIGHUP)
    server.wait(lambda: '"event":"reload.ignored"' in server.text)
    assert readyz(server) == 200
    assert server.descendants() == children


async def test_connections_are_spread_and_counted(server: RunningServer) -> None:
    clients = [await connected(server, f"peer-{number}.example.net") for number in range(4)]
    per_worker = [len(established(pid, server.address("diameter")[1])) for pid in server.workers()]
    assert sorted(per_worker) == [0, 0, 2, 2]  # keeper and api have none
    server.wait(lambda: server.metric('ocs_peers_up{protocol="diameter"}') == 4.0, 30)
    for client in clients:
        await client.gone()
    server.wait(lambda: server.metric('ocs_peers_up{protocol="diameter"}') == 0.0, 30)


def established(pid: int, port: int) -> list[str]:
    """Inodes of this process's connections to our port."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    wanted = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(fd.readlink()) in wanted:
                found.append(str(fd.readlink()))
    return found


def test_what_no_request_waits_for_gives_way(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, "ledger.nice=7", "workers=1")
    try:
        server.ready()
        lower = os.getpriority(os.PRIO_PROCESS, 0) + 7
        keeper, api, worker = sorted(server.workers())
        assert os.getpriority(os.PRIO_PROCESS, keeper) == lower
        for pid in (api, worker):
            assert os.getpriority(os.PRIO_PROCESS, pid) == lower - 7
        stores = {b"postgres": lower, b"valkey": lower - 7}
        for pid in server.descendants():
            with contextlib.suppress(ProcessLookupError):  # a process of PostgreSQL that ended meanwhile
                nice, command = os.getpriority(os.PRIO_PROCESS, pid), cmdline(pid)
                assert all(nice == expected for name, expected in stores.items() if name in command), command
    finally:
        server.stop()


def test_nothing_survives_kill_minus_nine(tmp_path: Path) -> None:
    server = RunningServer(tmp_path).ready()
    children = server.descendants()
    assert len(children) >= 6
    server.process.kill()
    server.process.wait()
    until = time.monotonic() + 15
    while left := [pid for pid in children if alive(pid)]:
        assert time.monotonic() < until, [cmdline(pid) for pid in left]
        time.sleep(0.1)


def test_the_second_interrupt_is_faster(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, "diameter.drain_s=60").ready()
    client = socket.create_connection(server.address("diameter"))
    client.sendall(cer())
    assert isinstance(DICTIONARY.decode(client.recv(4_096)), CapabilitiesExchangeAnswer)
    server.process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert server.process.poll() is None  # waits for a DPA that does not come
    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0
    assert time.monotonic() - began < 10
    client.close()


def health(server: RunningServer) -> tuple[int, dict[str, object]]:
    host, port = server.address("http")
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/readyz") as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


@pytest.mark.parametrize(
    ("setting", "status", "word"), [("unready", 503, "unavailable"), ("degraded", 200, "degraded")]
)
async def test_a_stopped_shard_is_seen_from_outside(tmp_path: Path, setting: str, status: int, word: str) -> None:
    server = RunningServer(tmp_path, f"ledger.when_stopped={setting}", "ledger.alarm_s=1").ready()
    try:
        pg = await asyncpg.connect(embedded_dsn(tmp_path))
        await pg.execute("UPDATE shards SET stopped = 'for the test' WHERE shard = 7")
        await pg.close()
        server.wait(lambda: server.metric("ocs_ledger_stopped_shards") == 1.0, 30)
        server.wait(lambda: health(server)[0] == status, 30)
        server.wait(lambda: health(server)[1]["status"] == word, 30)
        assert "7 (for the test)" in str(health(server)[1]["checks"])
        server.wait(lambda: server.text.count("keeper.standing_alarm") >= 2, 30)
        client = await connected(server)  # it is charged on
        client.send(request(CcRequestType.INITIAL_REQUEST, 0))
        assert (await answer(client)).result_code == 2001
        await client.gone()
        host, port = server.address("http")
        done = subprocess.run(
            [sys.executable, "-m", "ocs", "ledger", "resume", "7", "--reason", "looked at it",
             "--url", f"http://{host}:{port}", "--data", str(tmp_path)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        server.wait(lambda: health(server)[1]["status"] == "ok", 30)
        server.wait(lambda: server.metric("ocs_ledger_stopped_shards") == 0.0, 30)
    finally:
        server.stop()
