"""What the live store keeps, on dicts: what the operations of this folder read and write."""

from __future__ import annotations

import msgspec

from balances import keys
from balances.structs.account import Account
from balances.structs.record import Record
from balances.structs.session import IdempotencyRecord, Session


class Appended(msgspec.Struct):
    """A record and the packed states that go with it."""

    record: Record
    account: Account | None = None
    session: Session | None = None
    answer: IdempotencyRecord | None = None
    context: bytes = b""
    original: IdempotencyRecord | None = None


class ModelStore:
    """The live store on dicts."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.sessions: dict[str, dict[str, Session]] = {}
        self.answers: dict[tuple[str, str], IdempotencyRecord] = {}
        self.due: dict[str, int] = {}
        self.ledger: list[Appended] = []

    def look_by(self, account: str, session: str, at_ms: int) -> None:
        """Supervision looks at a session, or at the buckets of an account (""), no later than then."""
        member = keys.due_member(account, session)
        self.due[member] = min(self.due.get(member, at_ms), at_ms)

    def forget(self, account: str, session: str) -> None:
        """Supervision has nothing more to do with it; a session is gone with that."""
        self.due.pop(keys.due_member(account, session), None)
        self.sessions.get(account, {}).pop(session, None)
