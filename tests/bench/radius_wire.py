"""The RADIUS wire alone: an Interim-Update of fourteen attributes, its octets to those of the answer, taken apart; and
what logins cost. The store, the socket and charging are left out.

    python -m tests.bench.radius_wire
"""

import json
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocol.radius.attribute import Attribute
from protocol.radius.authenticator import answer, check_request, signed_request
from protocol.radius.chap import chap_response, is_chap_of
from protocol.radius.codes import PacketCode
from protocol.radius.counters import input_octets, output_octets
from protocol.radius.dictionary.microsoft import MS_CHAP2_RESPONSE, MS_CHAP_CHALLENGE
from protocol.radius.dictionary.mikrotik import MIKROTIK_RATE_LIMIT
from protocol.radius.dictionary.standard import (
    ACCT_DELAY_TIME,
    ACCT_INTERIM_INTERVAL,
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    ACCT_STATUS_TYPE,
    CALLING_STATION_ID,
    CHAP_PASSWORD,
    CLASS,
    EVENT_TIMESTAMP,
    FRAMED_IP_ADDRESS,
    NAS_IDENTIFIER,
    NAS_IP_ADDRESS,
    SESSION_TIMEOUT,
    USER_NAME,
    USER_PASSWORD,
)
from protocol.radius.hidden import hide_password, revealed
from protocol.radius.mschap import challenge_hash, challenge_response, mschap2_proof, nt_hash
from protocol.radius.packet import Packet

GOLDEN = Path(__file__).parent.parent / "golden" / "radius-tool.json"
INTERIM = next(v for v in json.loads(GOLDEN.read_text()) if v["id"] == "rad-tool-acct-interim-gigawords")
SECRET = str(INTERIM["secret"]).encode()
READ: tuple[Attribute[Any], ...] = (
    ACCT_STATUS_TYPE,
    USER_NAME,
    NAS_IP_ADDRESS,
    NAS_IDENTIFIER,
    ACCT_SESSION_ID,
    FRAMED_IP_ADDRESS,
    CALLING_STATION_ID,
    ACCT_SESSION_TIME,
    ACCT_DELAY_TIME,
    EVENT_TIMESTAMP,
)
PASSWORD = b"wonderland"


def measure() -> dict[str, float]:
    """Microseconds of CPU by what was done."""
    octets = bytes.fromhex(INTERIM["hex"])
    packet = Packet.decode(octets)

    def read(one: Packet) -> list[object]:
        found: list[object] = [one.get(attribute) for attribute in READ]
        return [*found, input_octets(one), output_octets(one)]

    def interim() -> bytes:
        one = Packet.decode(octets)
        check_request(one, SECRET)
        read(one)
        return answer(one, PacketCode.ACCOUNTING_RESPONSE, SECRET)

    def accept() -> bytes:
        limits = SESSION_TIMEOUT.pack(3600) + ACCT_INTERIM_INTERVAL.pack(600)
        return limits + CLASS.pack(b"session-1") + MIKROTIK_RATE_LIMIT.pack("2M/10M")

    def login(asked: bytes, judged: Callable[[Packet], object]) -> Callable[[], bytes]:
        def one() -> bytes:
            packet = Packet.decode(asked)
            check_request(packet, SECRET)
            assert judged(packet)
            return answer(packet, PacketCode.ACCESS_ACCEPT, SECRET, accept())

        return one

    hashed = nt_hash(PASSWORD.decode())
    pap, chap, mschap = logins(hashed)
    found = {
        "RADIUS: decode an Interim": lambda: Packet.decode(octets),
        "RADIUS: check its authenticator": lambda: check_request(Packet.decode(octets), SECRET),
        "RADIUS: read twelve values": lambda: read(packet),
        "RADIUS: Interim, octets to octets": interim,
        "RADIUS: PAP login, octets to octets": login(
            pap, lambda packet: revealed(packet, USER_PASSWORD, SECRET, packet.authenticator) == PASSWORD
        ),
        "RADIUS: CHAP login, octets to octets": login(chap, lambda packet: is_chap_of(packet, PASSWORD)),
        "RADIUS: MS-CHAPv2 login, octets to octets": login(mschap, lambda packet: mschap2_proof(packet, hashed)),
    }
    best = {
        name: min(timeit.repeat(call, timer=time.thread_time, number=1_000, repeat=9)) * 1_000
        for name, call in found.items()
    }
    best["RADIUS: check its authenticator"] -= best["RADIUS: decode an Interim"]
    return {name: round(us, 2) for name, us in best.items()}


def logins(hashed: bytes) -> tuple[bytes, bytes, bytes]:
    """The same subscriber by three methods, each request signed."""
    random, challenge, peer = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
    pap, chap, mschap = (
        Packet(PacketCode.ACCESS_REQUEST, number, random)
        .add(USER_NAME, "alice@example.net")
        .add(NAS_IDENTIFIER, "bng1")
        for number in range(3)
    )
    pap.add(USER_PASSWORD, hide_password(PASSWORD, SECRET, random))
    chap.add(CHAP_PASSWORD, chap_response(1, PASSWORD, random))
    response = challenge_response(challenge_hash(peer, challenge, b"alice@example.net"), hashed)
    mschap.add(MS_CHAP_CHALLENGE, challenge).add(MS_CHAP2_RESPONSE, b"\1\0" + peer + bytes(8) + response)
    return signed_request(pap, SECRET), signed_request(chap, SECRET), signed_request(mschap, SECRET)


if __name__ == "__main__":
    for name, us in measure().items():
        print(f"{name:45} {us:8.2f} us")
