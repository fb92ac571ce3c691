"""One block of DES (FIPS 46-3), which MS-CHAP takes its responses from and no library we stand on offers.

All permutations are linear, so each is a table per octet of its input, made of what each single bit becomes: a key
schedule is eight look-ups. About 25 us a block.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

# fmt: off
_IP = (58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32,
       24, 16, 8, 57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55,
       47, 39, 31, 23, 15, 7)
_FP = (40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31, 38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53,
       21, 61, 29, 36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27, 34, 2, 42, 10, 50, 18, 58, 26, 33, 1,
       41, 9, 49, 17, 57, 25)
_P = (16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11,
      4, 25)
_PC1 = (57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63,
        55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4)
_PC2 = (14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55,
        30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32)
_TURNS = (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1)
_S = (
    (14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
     4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13),
    (15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
     0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9),
    (10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
     13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12),
    (7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
     10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14),
    (2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
     4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3),
    (12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
     9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13),
    (4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
     1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12),
    (13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
     7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11),
)
# fmt: on


def _permuted(value: int, table: Sequence[int], width: int) -> int:
    """The bits of a number of `width` bits in the order of the table, which counts from 1 at the highest."""
    out = 0
    for place in table:
        out = out << 1 | value >> width - place & 1
    return out


def _schedule(key: int) -> int:
    """The sixteen round keys, each of its eight groups of six bits in an octet of its own, in one number."""
    both = _permuted(key, _PC1, 64)
    left, right = both >> 28, both & 0xFFFFFFF
    out = 0
    for turn in _TURNS:
        left = (left << turn | left >> 28 - turn) & 0xFFFFFFF
        right = (right << turn | right >> 28 - turn) & 0xFFFFFFF
        round_key = _permuted(left << 28 | right, _PC2, 56)
        for group in range(8):
            out = out << 8 | round_key >> 42 - 6 * group & 63
    return out


def _by_octet(linear: Callable[[int], int]) -> list[list[int]]:
    """What each value of each of eight octets becomes."""
    tables: list[list[int]] = []
    for octet in range(8):
        bits = [linear(1 << 56 - 8 * octet + bit) for bit in range(8)]
        table = [0] * 256
        for value in range(1, 256):
            low = value & -value
            table[value] = table[value ^ low] ^ bits[low.bit_length() - 1]
        tables.append(table)
    return tables


class _DesTables(NamedTuple):
    schedule: list[list[int]]
    first: list[list[int]]
    last: list[list[int]]
    boxes: list[list[int]]


@cache
def _tables() -> _DesTables:
    boxes = []
    for number, box in enumerate(_S):
        # Six bits: the outer two choose the row, the inner four the column; P moves the four bits that come out.
        out = [box[16 * (six >> 4 & 2 | six & 1) + (six >> 1 & 15)] << 28 - 4 * number for six in range(64)]
        boxes.append([_permuted(value, _P, 32) for value in out])
    return _DesTables(
        _by_octet(_schedule),
        _by_octet(lambda block: _permuted(block, _IP, 64)),
        _by_octet(lambda block: _permuted(block, _FP, 64)),
        boxes,
    )


def _looked_up(tables: list[list[int]], data: bytes) -> int:
    out = 0
    for table, octet in zip(tables, data, strict=True):
        out ^= table[octet]
    return out


def des_encrypt(key: bytes, block: bytes) -> bytes:
    """The eight octets of a block under a key of eight octets, whose parity bits are not looked at."""
    tables = _tables()
    keys = _looked_up(tables.schedule, key).to_bytes(128)
    s1, s2, s3, s4, s5, s6, s7, s8 = tables.boxes
    mixed = _looked_up(tables.first, block)
    left, right = mixed >> 32, mixed & 0xFFFFFFFF
    for at in range(0, 128, 8):
        wide = (right & 1) << 33 | right << 1 | right >> 31  # each group of six overlaps its neighbours by one bit
        left, right = (
            right,
            left
            ^ (
                s1[wide >> 28 & 63 ^ keys[at]]
                ^ s2[wide >> 24 & 63 ^ keys[at + 1]]
                ^ s3[wide >> 20 & 63 ^ keys[at + 2]]
                ^ s4[wide >> 16 & 63 ^ keys[at + 3]]
                ^ s5[wide >> 12 & 63 ^ keys[at + 4]]
                ^ s6[wide >> 8 & 63 ^ keys[at + 5]]
                ^ s7[wide >> 4 & 63 ^ keys[at + 6]]
                ^ s8[wide & 63 ^ keys[at + 7]]
            ),
        )
    return _looked_up(tables.last, (right << 32 | left).to_bytes(8)).to_bytes(8)
