"""Codes of vouchers: how they are made, checked and read. Pure but for the randomness that is passed in.

A code ends with a check character (the hybrid systems of ISO 7064: MOD 11,10 for digits, the same with 24 symbols for
letters), which finds every single wrong character and nearly all transposed neighbours; so who mistypes a code is told
so, and has not guessed one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final


class CodeAlphabet(StrEnum):
    LETTERS = "letters"
    """Capitals and digits without look-alikes: no 0 O Q, 1 I, 2 Z, 5 S, 8 B, V."""
    DIGITS = "digits"
    """For keypads."""
    IMPORTED = "imported"
    """Made elsewhere: any letters and digits."""


SYMBOLS: Final = {CodeAlphabet.LETTERS: "34679ACDEFGHJKLMNPRTUWXY", CodeAlphabet.DIGITS: "0123456789"}
GROUP: Final = 5
"""Characters between two dashes, as a code is shown."""
BITS_DEFAULT: Final = 64
IMPORTED_MIN, IMPORTED_MAX = 6, 64
_BETWEEN: Final = re.compile(r"[\s-]+")


def bits_of(alphabet: CodeAlphabet, length: int) -> int:
    """Randomness of a code of so many characters, its check character included."""
    return int((length - 1) * math.log2(len(SYMBOLS[alphabet])))


def length_for(alphabet: CodeAlphabet, bits: int = BITS_DEFAULT) -> int:
    """Characters, the check character included, of a code with so much randomness."""
    return math.ceil(bits / math.log2(len(SYMBOLS[alphabet]))) + 1


def make_code(alphabet: CodeAlphabet, length: int, below: Callable[[int], int]) -> str:
    """below(n): a secure random number from 0 to n - 1"""
    symbols = SYMBOLS[alphabet]
    body = "".join(symbols[below(len(symbols))] for _ in range(length - 1))
    return body + _check(symbols, body)


def _carried(symbols: str, body: str) -> int:
    """The running product of ISO 7064 section 8 before the check character."""
    size = len(symbols)
    product = size
    for symbol in body:
        product = ((product + symbols.index(symbol)) % size or size) * 2 % (size + 1)
    return product


def _check(symbols: str, body: str) -> str:
    return symbols[(1 - _carried(symbols, body)) % len(symbols)]


def read_code(text: str) -> str:
    """The one spelling of a code as people type it: capitals, nothing in between."""
    return _BETWEEN.sub("", text).upper()


def is_mistyped(code: str) -> bool:
    """Whether a code is certainly none of ours: a character of no alphabet, or another check character."""
    found = [symbols for symbols in SYMBOLS.values() if code and set(code) <= set(symbols)]
    return not any(_check(symbols, code[:-1]) == code[-1] for symbols in found)


def shown(code: str) -> str:
    """In groups, as it is printed."""
    return "-".join(code[at : at + GROUP] for at in range(0, len(code), GROUP))
