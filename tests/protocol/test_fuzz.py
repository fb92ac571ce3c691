"""`make fuzz`: the properties of test_properties.py, run for a time.

FUZZ_SECONDS (default 60) bounds it; a failure prints the octets in hex, which is all that is needed to repeat it.
"""

import os
import random
import time

import pytest

from tests.protocol.test_properties import SEEDS, check_any

INTERESTING = [
    b"\0",
    b"\xff",
    b"\x80",
    b"\0\0\0\x08",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x40\0\0\x08",
    b"\xc0\0\0\x0c",
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
            del frame[at : at + chance.choice((1, 4, 8, 12))]
        elif kind == 3:
            frame[at:at] = chance.randbytes(chance.choice((1, 4, 8, 12)))
        elif kind == 4:
            start = chance.randrange(len(frame) + 1) & ~3
            frame[at & ~3 : at & ~3] = frame[start : start + 4 * chance.randint(1, 20)]
        else:
            other = chance.choice(SEEDS)
            frame[at:] = other[chance.randrange(len(other)) :]
    if chance.random() < 0.9:
        frame += bytes(-len(frame) % 4)
        frame[1:4] = len(frame).to_bytes(3, "big")
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
    print(f"{count} messages, seed {seed}")
