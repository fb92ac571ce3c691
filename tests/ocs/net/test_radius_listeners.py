"""RADIUS by IPv6, with a client that sends too much."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from protocol.radius.dictionary.values import AcctStatusType
from tests.ocs.charging.radius.nas import accounting
from tests.ocs.running import RunningServer

RATE = 50
DROPPED = 'ocs_messages_dropped_total{protocol="radius",why="%s"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(
        tmp_path_factory.mktemp("radius6") / "data",
        "radius.auth_listen=[::1]:0",
        "radius.acct_listen=[::1]:0",
        f'radius.clients=[{{address="::1",secret="testing123",group="six",rate_max={RATE}}}]',
    ).ready()
    yield running
    running.stop()


def nas(server: RunningServer) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.settimeout(30)
    host, port = server.address("radius_acct")
    made.connect((host.strip("[]"), port))
    return made


def test_all_packets_of_a_source_meet_one_worker(server: RunningServer) -> None:
    """Only the worker that answered knows the answer."""
    for number in range(4):
        packet = accounting(AcctStatusType.START, f"six{number}")
        with nas(server) as one:
            answers = set()
            for _ in range(6):
                one.send(packet.octets)
                answers.add(one.recv(4096))
            assert len(answers) == 1
    server.wait(lambda: server.metric(DROPPED % "answered before") == 20, 30)


def test_a_client_that_sends_too_much_is_cut_to_its_rate(server: RunningServer) -> None:
    sent = 6 * RATE
    with nas(server) as one:
        for number in range(sent):
            one.send(accounting(AcctStatusType.START, f"much{number}").octets)
    server.wait(lambda: server.metric(DROPPED % "rate") > 0, 30)
    assert server.metric('ocs_peer_dropped_total{peer="six",why="rate"}') > 0
    assert server.text.count('"reason":"rate"') == 1


def test_who_cannot_prove_that_he_is_a_client_is_met_with_silence(server: RunningServer) -> None:
    octets = bytearray(accounting(AcctStatusType.START, "forged").octets)
    octets[4] ^= 1  # of the authenticator
    with nas(server) as one:
        for _ in range(20):
            one.send(octets)
        server.wait(lambda: server.metric(DROPPED % "authenticator") == 20, 30)
        one.settimeout(0)
        with pytest.raises(BlockingIOError):
            one.recv(4096)
    assert server.text.count('"reason":"authenticator"') == 1
