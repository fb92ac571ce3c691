"""What the twin and the script answer and keep is what the oracle says, in lives of an account that are made up.

A failure prints the story; how to read it is in tests/balances/oracle/README.md.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings

from tests.balances.oracle.comparison import Comparison, TwinAlone
from tests.balances.oracle.nas import nas_stories
from tests.balances.oracle.stories import Story, stories
from tests.balances.twins import Twins
from tests.servers import LiveValkey


def some(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck])


@given(stories(groups=(10,), lines_max=1))
@some(60)
def test_volume_in_single_requests_and_events(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(stories(groups=(30,), lines_max=1))
@some(40)
def test_time(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(stories(groups=(50,), lines_max=1))
@some(20)
def test_money(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(stories(groups=(10, 20, 40), lines_max=3))
@some(60)
def test_several_lines_at_once(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(stories(groups=(10,), lines_max=1, priced=True))
@some(80)
def test_volume_of_packages_with_a_price(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(stories(groups=(30,), lines_max=1, priced=True))
@some(30)
def test_time_of_packages_with_a_price(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(stories(groups=(10, 20), lines_max=2, priced=True))
@some(40)
def test_lines_that_share_packages_with_a_price(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(nas_stories())
@some(80)
def test_sessions_that_their_client_runs(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()


@given(story=stories(groups=(10, 30, 40), lines_max=3) | nas_stories())
@some(25)
def test_the_script_as_well(valkey: LiveValkey, story: Story) -> None:
    with contextlib.closing(Twins(valkey.fresh())) as twins:
        Comparison(twins, story).tell()


@pytest.mark.fuzz
@given(story=stories(groups=(10, 20, 30, 40, 50), lines_max=3, length=40) | nas_stories(length=40))
@settings(deadline=None, suppress_health_check=[*HealthCheck])
def test_the_twin_for_long(story: Story) -> None:
    Comparison(TwinAlone(), story).tell()
