"""A short piece of `make chaos`: whatever comes of one seed, the books hold."""

import pytest

from tests.drills.chaos import run

pytestmark = pytest.mark.serial


async def test_a_few_seconds_of_chaos_leave_the_books_in_order() -> None:
    told: list[str] = []
    wrong = await run(11, 6.0, told.append)
    assert not wrong, told
