"""Coroutines stepped by hand."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from balances.redis.pending import Pending, SlowPath
from ocs.net.step import Stepped, UnexpectedAwait


class Run(Stepped[Any]):
    """What came of a coroutine."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.results: list[Any] = []
        self.errors: list[Exception] = []
        super().__init__(coroutine)

    def done(self, result: Any) -> None:
        self.results.append(result)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


async def add(*pendings: Pending[int]) -> int:
    total = 0
    for pending in pendings:
        total += await pending
    return total


def test_without_await_it_is_done_at_once() -> None:
    assert Run(add()).results == [0]


def test_replies_resume_it() -> None:
    one, two = Pending[int](), Pending[int]()
    run = Run(add(one, two))
    one.resolve(1)
    assert run.results == []
    two.resolve(2)
    assert (run.results, run.errors) == ([3], [])


def test_a_reply_that_is_there_already() -> None:
    one, two = Pending[int](), Pending[int]()
    two.resolve(2)
    run = Run(add(one, two))
    one.resolve(1)
    assert run.results == [3]


def test_errors_are_raised_at_the_await() -> None:
    pending = Pending[int]()

    async def survive() -> str:
        try:
            await pending
        except OSError as why:
            return str(why)
        return "no"

    run = Run(survive())
    pending.fail(OSError("gone"))
    assert run.results == ["gone"]


def test_its_own_errors_are_handed_on() -> None:
    pending = Pending[int]()
    run = Run(add(pending))
    pending.fail(OSError("gone"))
    assert [type(error) for error in run.errors] == [OSError]

    async def bug() -> None:
        raise KeyError("x")

    assert [type(error) for error in Run(bug()).errors] == [KeyError]


def test_what_done_raises_is_not_the_coroutines() -> None:
    class Faulty(Run):
        def done(self, result: Any) -> None:
            raise ValueError("in done")

        def failed(self, error: Exception) -> None:
            raise AssertionError(error)

    with pytest.raises(ValueError, match="in done"):
        Faulty(add())


async def test_a_slow_path_is_a_task_of_its_own() -> None:
    async def slow() -> int:
        await asyncio.sleep(0)
        return 5

    async def work() -> int:
        return 1 + await SlowPath(slow())

    run = Run(work())
    assert run.results == []
    await asyncio.sleep(0.01)
    assert run.results == [6]


async def test_anything_else_awaited_is_an_error_of_ours() -> None:
    closed = []

    async def wrong() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            closed.append(True)

    run = Run(wrong())
    assert [type(error) for error in run.errors] == [UnexpectedAwait]
    assert closed == [True]


def test_a_thousand_replies_in_a_row() -> None:
    pendings = [Pending[int]() for _ in range(1_000)]
    run = Run(add(*pendings))
    for pending in pendings:
        pending.resolve(1)
    assert run.results == [1_000]
