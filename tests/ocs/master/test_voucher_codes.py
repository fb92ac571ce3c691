"""Codes of vouchers: randomness, check character, how people type them; and the keys they are stored under."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.master.voucher_codes import (
    SYMBOLS,
    CodeAlphabet,
    bits_of,
    is_mistyped,
    length_for,
    make_code,
    read_code,
    shown,
)
from ocs.master.voucher_keys import VoucherKeys

MADE = (CodeAlphabet.LETTERS, CodeAlphabet.DIGITS)
LOOK_ALIKES = ("0OQD", "1IL", "2Z", "5S", "8B", "UV")


@pytest.mark.parametrize("alphabet", MADE)
def test_enough_randomness_and_no_character_more_than_that_takes(alphabet: CodeAlphabet) -> None:
    length = length_for(alphabet)
    assert bits_of(alphabet, length) >= 64 > bits_of(alphabet, length - 1)


def test_no_two_letters_look_alike() -> None:
    symbols = SYMBOLS[CodeAlphabet.LETTERS]
    assert len(set(symbols)) == len(symbols)
    assert [pair for pair in LOOK_ALIKES if sum(symbol in symbols for symbol in pair) > 1] == []


@given(seed=st.integers(0, 2**32), alphabet=st.sampled_from(MADE), data=st.data())
@settings(max_examples=60, deadline=None)
def test_one_wrong_character_is_always_found(seed: int, alphabet: CodeAlphabet, data: st.DataObject) -> None:
    code = make_code(alphabet, length_for(alphabet), random.Random(seed).randrange)
    assert not is_mistyped(code)
    assert read_code(f" {shown(code).lower()} ") == code
    place = data.draw(st.integers(0, len(code) - 1))
    for other in SYMBOLS[alphabet]:
        if other != code[place]:
            assert is_mistyped(code[:place] + other + code[place + 1 :])


@pytest.mark.parametrize("alphabet", MADE)
def test_nearly_all_transpositions_are_found(alphabet: CodeAlphabet) -> None:
    draw, missed, tried = random.Random(7), 0, 0
    for _ in range(300):
        code = make_code(alphabet, 15, draw.randrange)
        for at in range(len(code) - 1):
            swapped = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
            if swapped != code:
                tried, missed = tried + 1, missed + (not is_mistyped(swapped))
    assert missed < tried / 25


def test_a_code_is_found_under_every_key_and_stored_under_the_first() -> None:
    old, new = bytes(32), bytes([1]) * 32
    before, after = VoucherKeys([old]), VoucherKeys([new, old])
    assert before.digest("A") in after.digests("A")
    assert after.digest("A") not in before.digests("A")
    assert after.sealing.open(before.sealing.seal("A B", about="lot"), about="lot") == "A B"
