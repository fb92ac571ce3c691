"""The world every test of a charging rule starts in, and the audit it ends with."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.balances.rules.account_harness import Counterparts

Opened = Callable[..., Counterparts]


@pytest.fixture
def opened(redis_url: str) -> Iterator[Opened]:
    """Opens the account with the money and the settings given."""
    worlds: list[Counterparts] = []

    def open_one(money: int = 0, **account: int) -> Counterparts:
        world = Counterparts(redis_url, **account)
        worlds.append(world)
        if money:
            world.topup(money)
        return world

    yield open_one
    for world in worlds:
        with contextlib.closing(world.twins):
            world.audit()
