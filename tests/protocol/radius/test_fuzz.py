"""`make fuzz` for RADIUS: the property of test_properties.py, run for a time.

FUZZ_SECONDS (default 60) bounds it; a failure prints the octets in hex, which is all that is needed to repeat it.
"""

import os
import random
import time

import pytest

from tests.protocol.radius.test_properties import SEEDS, check_any

INTERESTING = [
    b"\0",
    b"\x01",
    b"\x02",
    b"\xff",
    b"\x1a\x0c\0\0\0\x09",
    b"\x1a\x10\0\0\x60\xb5\x25\x0a\x80",
    b"\x1a\x0c\0\0\x1f\xe4\0\x02\0\x06",
    b"\xf5\x0a\x1a\x80\0\0\0\x09",
    b"\xf1\x06\x04\0\0\0",
    b"\x50\x12" + bytes(16),
]


def mutate(chance: random.Random) -> bytes:
    frame = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(frame) + 1)
        kind = chance.randrange(6)
        if kind == 0 and at < len(frame):
            frame[at] = chance.randrange(256)
        elif kind == 1:
            piece = chance.choice(INTERESTING)
            frame[at : at + len(piece)] = piece
        elif kind == 2:
            del frame[at : at + chance.choice((1, 2, 6, 20))]
        elif kind == 3:
            piece = chance.choice(INTERESTING)
            frame[at:at] = piece + chance.randbytes(chance.choice((0, 1, 4, 12)))
        elif kind == 4:
            piece = chance.randbytes(chance.randrange(14))
            frame += bytes((chance.choice((26, 26, 79, 80, 92, 241, 245, 246)), len(piece) + 2)) + piece
        else:
            other = chance.choice(SEEDS)
            frame[at:] = other[chance.randrange(len(other)) :]
    if chance.random() < 0.9 and len(frame) >= 4:
        frame[2:4] = len(frame).to_bytes(2)
    return bytes(frame)


@pytest.mark.fuzz
def test_fuzz() -> None:
    seed = int(os.environ.get("FUZZ_SEED", time.time_ns()))
    chance, end = random.Random(seed), time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "60"))
    count = 0
    while time.monotonic() < end:
        frame = mutate(chance)
        count += 1
        try:
            check_any(frame)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r} out of {frame.hex()}") from error
    print(f"{count} packets, seed {seed}")
