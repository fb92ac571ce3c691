"""MD4 (RFC 1320), which OpenSSL 3 no longer offers and MS-CHAP is made of. Good for nothing else."""

from struct import Struct

_WORDS = Struct("<16I")
_STATE = Struct("<4I")
_ALL = 0xFFFFFFFF

# Per round: the constant added, the words in order, the four rotations.
_ROUNDS = (
    (0, range(16), (3, 7, 11, 19)),
    (0x5A827999, [first + 4 * step for first in range(4) for step in range(4)], (3, 5, 9, 13)),
    (0x6ED9EBA1, [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], (3, 9, 11, 15)),
)
_STEPS = [
    (number, constant, word, rotations[turn % 4])
    for number, (constant, words, rotations) in enumerate(_ROUNDS)
    for turn, word in enumerate(words)
]


def md4(data: bytes) -> bytes:
    """16 octets."""
    length = len(data)
    data += b"\x80" + bytes(-(length + 9) % 64) + (8 * length).to_bytes(8, "little")
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for at in range(0, len(data), 64):
        words = _WORDS.unpack_from(data, at)
        a, b, c, d = state
        for number, constant, word, rotation in _STEPS:
            if number == 0:
                mixed = b & c | ~b & d
            elif number == 1:
                mixed = b & c | b & d | c & d
            else:
                mixed = b ^ c ^ d
            turned = (a + mixed + words[word] + constant) & _ALL
            a, b, c, d = d, (turned << rotation | turned >> 32 - rotation) & _ALL, b, c
        state = tuple((old + new) & _ALL for old, new in zip(state, (a, b, c, d), strict=True))  # type: ignore[assignment]
    return _STATE.pack(*state)
