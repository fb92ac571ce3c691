"""An account that the live store lacks is opened in the epoch in which PostgreSQL was asked for it, or not at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from balances import keys
from balances.ledger.restore import Restored
from balances.packing import fresh_account
from balances.redis.calls import NotSent
from ocs.master import accounts
from ocs.master import bring_in as bringing
from ocs.master.accounts import AccountRow


class OneStore:
    """It notes what is opened. While PostgreSQL is asked its epoch becomes another one."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, found: Restored | None, epochs: tuple[bytes | None, ...]
    ) -> None:
        self.epoch = epochs[0]
        self.link = SimpleNamespace(epoch_of=lambda shard: self.epoch if shard == keys.shard_of("a") else b"1")
        self.opened: list[str] = []

        async def get(_pool: Any, account: str) -> AccountRow:
            return AccountRow(account, "EUR", "UTC", balance=5)

        async def restore(_pool: Any, _account: str, *, now_ms: int) -> Restored | None:
            self.epoch = epochs[-1]
            return found

        monkeypatch.setattr(accounts, "get", get)
        monkeypatch.setattr(bringing, "restore", restore)

    async def get(self, _name: str) -> None:
        return None

    def open(self, account: str, _opening: Any) -> Any:
        self.opened.append(account)

        async def wait() -> Any:
            return SimpleNamespace(status="ok")

        return SimpleNamespace(wait=wait)

    async def bring_in(self) -> str | None:
        anything: Any = self
        return await bringing.bring_in(anything, anything, anything, "a", 1)


RESTORED = Restored(fresh_account("a", "EUR"), [], [])


@pytest.mark.parametrize("found", [None, RESTORED], ids=["as it was created", "as it was last"])
@pytest.mark.parametrize(
    ("epochs", "opens"), [((b"7",), True), ((b"7", b"8"), False), ((b"7", None), False), ((None, b"7"), False)]
)
async def test_it_comes_in_in_the_epoch_it_was_looked_up_in(
    monkeypatch: pytest.MonkeyPatch, found: Restored | None, epochs: tuple[bytes | None, ...], opens: bool
) -> None:
    store = OneStore(monkeypatch, found, epochs)
    if opens:
        assert await store.bring_in() == "ok"
    else:
        with pytest.raises(NotSent, match="opened anew"):
            await store.bring_in()
    assert store.opened == ["a"] * opens


@pytest.mark.parametrize(("last", "after"), [(5, 7 << 20), ((7 << 20) + 3, (7 << 20) + 3)], ids=["lost", "of now"])
def test_a_generation_that_a_lost_call_gave_is_not_given_again(last: int, after: int) -> None:
    """durability.md rule 10: a job has the number, and would take what came later for its own cause."""
    assert bringing.generation_after(last, 7) == after
    assert (2**32) * bringing.GENERATIONS < 2**53, "of any second that an epoch can be"
