"""A reply that has not come yet, awaitable without a Task.

A coroutine that is stepped by hand (`coro.send(None)`) receives the Pending it awaits and is resumed by its
callback: a third of the cost of a Task and a Future (measured, design notes). From a Task, await `wait()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")
Callback = Callable[[Any, BaseException | None], None]


class Pending(Generic[T]):
    """Settled once, by `resolve` or `fail`; one callback."""

    __slots__ = ("_callback", "_error", "_value", "settled")

    def __init__(self) -> None:
        self.settled = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callback: Callback | None = None

    @property
    def value(self) -> Any:
        """What it was resolved with."""
        return self._value

    def then(self, callback: Callback) -> None:
        """Call `callback(value, error)` when settled, at once if it already is."""
        if self.settled:
            callback(self._value, self._error)
        else:
            self._callback = callback

    def resolve(self, value: T) -> None:
        if not self.settled:
            self.settled = True
            self._value = value
            # Who waited may keep this one: without the way back neither outlives the other.
            callback, self._callback = self._callback, None
            if callback is not None:
                callback(value, None)

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self.settled = True
            self._error = error
            callback, self._callback = self._callback, None
            if callback is not None:
                callback(None, error)

    def __await__(self) -> Generator[Pending[T], T, T]:
        if self.settled:
            if self._error is not None:
                raise self._error
            return cast(T, self._value)
        return (yield self)

    async def wait(self) -> T:
        """Await the result from a Task."""
        if not self.settled:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._callback = lambda value, error: None if future.done() else future.set_result(None)
            await future
        if self._error is not None:
            raise self._error
        return cast(T, self._value)


CANCEL_S: Final = 0.5


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until they are done. A cancellation can get lost inside a client (redis, asyncpg) that is in
    the middle of a connect: waiting for it then would never end, so it is cancelled again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=CANCEL_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen


class SlowPath(Pending[T]):
    """A coroutine run as a Task, for the slow paths of a stepped coroutine."""

    __slots__ = ("_task",)

    def __init__(self, coro: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._task = asyncio.ensure_future(coro)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.fail(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.fail(error)
        else:
            self.resolve(task.result())
