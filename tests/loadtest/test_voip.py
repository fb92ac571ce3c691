"""What a voice gateway plays, and what a call comes to cost by its own arithmetic."""

import random

import pytest

from loadtest.pricing import LoadPrice
from loadtest.shelf import ScenarioError
from loadtest.voip.call import VoipCall, caller, counted_s
from loadtest.voip.scenario import load, shipped


def test_what_is_shipped_is_played() -> None:
    assert [load(name).name for name in shipped()] == shipped() == ["calls", "scarce"]


def test_a_call_longer_than_a_server_believes_is_refused() -> None:
    with pytest.raises(ScenarioError, match="expected 59 at most"):
        load("calls", length_s=[1.0, 58.0])


@pytest.mark.parametrize(("ms", "seconds"), [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_999, 1), (59_999, 59)])
def test_a_begun_second_counts_only_as_the_first(ms: int, seconds: int) -> None:
    assert counted_s(ms) == seconds


def test_a_call_owes_its_longest_leg_once_and_is_cut_where_it_was_told() -> None:
    call = VoipCall(load("calls"), LoadPrice("0.01", 6), caller(3), random.Random(1))
    call.length_s, call.announced_s = 30.0, 5.0
    assert sorted(call.connected_ms(leg) for leg in call.legs) == [30_000, 35_000]
    assert [call.acknowledged(seconds) for seconds in (30, 35, 30)] == [50_000, 10_000, 0]
    call.may_last(32)
    assert sorted(call.connected_ms(leg) for leg in call.legs) == [30_000, 32_000]
    call.may_last(7)
    assert {call.connected_ms(leg) for leg in call.legs} == {7_000}
