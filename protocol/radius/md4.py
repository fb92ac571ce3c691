"""MD4 (RFC 1320), which OpenSSL 3 no longer offers and MS-CHAP is made of. Good for nothing else."""

from struct import Struct

_WORDS = Struct("<16I")
_STATE = Struct("<4I")
_ALL = 0xFFFFFFFF

# The words of each round in order, each with its rotation.
_FIRST = [(word, (3, 7, 11, 19)[word % 4]) for word in range(16)]
_SECOND = [(first + 4 * step, (3, 5, 9, 13)[step]) for first in range(4) for step in range(4)]
_THIRD = [
    (word, (3, 9, 11, 15)[turn % 4]) for turn, word in enumerate((0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15))
]


def md4(data: bytes) -> bytes:
    """16 octets."""
    length = len(data)
    data += b"\x80" + bytes(-(length + 9) % 64) + (8 * length).to_bytes(8, "little")
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for at in range(0, len(data), 64):
        words = _WORDS.unpack_from(data, at)
        a, b, c, d = state
        for word, turn in _FIRST:
            mixed = (a + (b & c | ~b & d) + words[word]) & _ALL
            a, b, c, d = d, (mixed << turn | mixed >> 32 - turn) & _ALL, b, c
        for word, turn in _SECOND:
            mixed = (a + (b & c | b & d | c & d) + words[word] + 0x5A827999) & _ALL
            a, b, c, d = d, (mixed << turn | mixed >> 32 - turn) & _ALL, b, c
        for word, turn in _THIRD:
            mixed = (a + (b ^ c ^ d) + words[word] + 0x6ED9EBA1) & _ALL
            a, b, c, d = d, (mixed << turn | mixed >> 32 - turn) & _ALL, b, c
        old_a, old_b, old_c, old_d = state
        state = (old_a + a & _ALL, old_b + b & _ALL, old_c + c & _ALL, old_d + d & _ALL)
    return _STATE.pack(*state)
