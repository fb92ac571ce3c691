"""The balance operations, typed: one call each, of a script whose twin is a file of balances/model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from balances import keys
from balances.packing import ACCOUNT_FIELD, pack, stored_account, unpack_account, unpack_session
from balances.redis.link import StoreLink
from balances.redis.pending import Pending
from balances.structs.account import Account
from balances.structs.charge import Charge, Course, Phase, Reply
from balances.structs.posting import (
    AccountClosing,
    AccountOpening,
    AccountOperation,
    AccountSettings,
    Expire,
    Fee,
    Post,
    Transfer,
)
from balances.structs.record import Record
from balances.structs.session import Session


def more_of(charge: Charge) -> tuple[bytes, ...]:
    """What few charges are called with besides."""
    if charge.sessions_max < 0:
        return (charge.adopts.encode(),) if charge.adopts else ()
    return charge.adopts.encode(), b"1"


class Store:
    """Balance operations over one link. Every method returns at once; the Pending fails with `NotSent` when the
    call was certainly not sent and with `Lost` when its fate is unknown."""

    def __init__(self, link: StoreLink) -> None:
        self.link = link

    def _reply(self, raw: list[Any]) -> Reply:
        """[status, outcome, marks, urgent], later ones absent in short replies."""
        reply = Reply(raw[0].decode(), *raw[1:])
        if reply.urgent:
            self.link.news.wake()
        return reply

    def _rare_reply(self, raw: list[Any]) -> Reply:
        """Of what people do, and of what time ends: sessions may wait for it."""
        reply = Reply(raw[0].decode(), *raw[1:])
        if reply.status == "ok":
            self.link.news.wake()
        return reply

    def charge(self, charge: Charge, context: bytes, of: keys.AccountKeys | None = None) -> Pending[Reply]:
        """One credit-control request. Reply.outcome is a packed Outcome for `ok` and `again`."""
        of = of or keys.AccountKeys(charge.account)
        names: tuple[str, ...]
        place: tuple[str, str] | None = None
        if charge.phase == Phase.EVENT:
            once = keys.once(charge.account, charge.once_key)
            names = (of.account, of.due, of.ledger, once, keys.renumbered(once, charge.fingerprint))
            if charge.refund_of:
                names = (*names, keys.once(charge.account, charge.refund_of))
        else:
            names = (of.account, of.due, of.ledger)
            begins = charge.phase == Phase.START or charge.course == Course.BEGINS
            if begins and charge.subscriber and not charge.moved_rev:  # a later request may name nobody
                place = keys.where(charge.session), keys.place(charge.account, charge.subscriber)
        new = charge.phase == Phase.START or charge.phase == Phase.EVENT
        script = "charge" if new else "settle"  # what was used is settled although memory is full
        given = (pack(charge), context, *more_of(charge))
        decode = self._reply_to(charge, of.shard)
        if place is not None:
            return self.link.script_placed(script, names, given, decode, place)
        return self.link.script(script, names, given, decode)

    def _reply_to(self, charge: Charge, shard: int) -> Callable[[list[Any]], Reply]:
        """What makes the reply of this charge."""
        return self._reply

    def not_opened(self, account: str, session: str, subscriber: str) -> None:
        """An INITIAL came to nothing, for good: what says where its session is goes too, unless a repeat has opened it
        meanwhile. Nobody waits for it."""
        where, hash_ = keys.where(session), keys.account(account)

        def looked(there: Any, error: BaseException | None) -> None:
            if error is None and not there:
                self.link.command("GET", where).then(found)

        def found(place: Any, _error: BaseException | None) -> None:
            if place == keys.place(account, subscriber).encode():  # else another account has it
                self.link.command("DEL", where)
                self.link.command("HEXISTS", hash_, session).then(looked_again)

        def looked_again(there: Any, _error: BaseException | None) -> None:
            if there:
                self.link.command("SET", where, keys.place(account, subscriber), "NX")

        self.link.command("HEXISTS", hash_, session).then(looked)

    def aside(self, record: Record, context: bytes) -> Pending[Reply]:
        """Put use that is not charged on record, of `keys.nobody(session)`; a repeat is found when it is copied."""
        ledger = keys.ledger(keys.shard_of(record.account))
        return self.link.script("aside", (ledger,), (pack(record), context), self._reply)

    def post(self, post: Post) -> Pending[Reply]:
        """Top-up, adjustment, refund, fee. Reply.outcome is a packed PostingOutcome for `ok`, `again` and `refused`."""
        return self._posting("post", post, *([keys.once(post.account, post.refund_of)] if post.refund_of else ()))

    def transfer(self, transfer: Transfer) -> Pending[Reply]:
        """From bucket to bucket. Reply.outcome is a packed PostingOutcome for `ok`, `again` and `refused`."""
        return self._posting("transfer", transfer)

    def close(self, close: AccountClosing) -> Pending[Reply]:
        """Close an account with what it has. Reply.outcome as of `post`."""
        return self._posting("close", close)

    def fee(self, fee: Fee) -> Pending[Reply]:
        """A period of a recurring fee. Reply.outcome is a packed FeeOutcome for `ok`, `again` and `refused`."""
        of = keys.AccountKeys(fee.account)
        return self.link.script("fee", (of.account, of.due, of.ledger), (pack(fee),), self._fee_reply)

    def _fee_reply(self, raw: list[Any]) -> Reply:
        """Many come at once: sessions that wait for money are found when the records are copied."""
        return Reply(raw[0].decode(), *raw[1:])

    def _posting(self, script: str, operation: AccountOperation, *more: str) -> Pending[Reply]:
        of = keys.AccountKeys(operation.account)
        names = (of.account, keys.once(operation.account, operation.key), of.due, of.ledger, *more)
        return self.link.script(script, names, (pack(operation),), self._rare_reply, repeatable=operation.key != "")

    def settings(self, settings: AccountSettings) -> Pending[Reply]:
        """Change versioned fields. Reply.outcome is the packed Account (`ok`, `revision`, `refused`)."""
        of = keys.AccountKeys(settings.account)
        return self.link.script("settings", (of.account, of.due, of.ledger), (pack(settings),), self._rare_reply)

    def expire(self, expiry: Expire) -> Pending[Reply]:
        """What time alone changes, for one member of `due`."""
        of = keys.AccountKeys(expiry.account)
        return self.link.script("expire", (of.account, of.due, of.ledger), (pack(expiry),), self._rare_reply)

    def open(self, account_id: str, opening: AccountOpening) -> Pending[Reply]:
        """Bring an account in, if it is absent: `ok` or `exists`. Not sent again after a cut: what PostgreSQL said
        of it holds for the epoch it was asked in only (durability.md rule 8)."""
        of = keys.AccountKeys(account_id)
        answers = (keys.once(account_id, once.key) for once in opening.answers)
        names = (of.account, of.due, of.ledger, *answers)
        return self.link.script("open", names, (pack(opening),), self._reply, repeatable=False)

    def account(self, account_id: str) -> Pending[Account | None]:
        return self.link.command(
            "HGET",
            keys.account(account_id),
            ACCOUNT_FIELD,
            decode=lambda raw: None if raw is None else unpack_account(raw),
        )

    def session(self, account_id: str, session: str) -> Pending[Session | None]:
        return self.link.command(
            "HGET", keys.account(account_id), session, decode=lambda raw: None if raw is None else unpack_session(raw)
        )

    async def read(self, account_id: str) -> tuple[Account, list[Session]] | None:
        """The account and its sessions as of one instant; None when Redis does not have it."""
        fields = await self.link.command("HGETALL", keys.account(account_id)).wait()
        stored = stored_account(fields)
        if stored.account is None:
            return None
        return unpack_account(stored.account), [unpack_session(one) for one in stored.sessions.values()]

    def remark(self, peer: str, mark: str) -> Pending[Any]:
        """Count what was unusual about a request, for the API. Nobody waits for it. peer: a configured one."""
        return self.link.command("HINCRBY", keys.REMARKS, keys.remark(peer, mark), 1)

    async def remarks(self) -> dict[str, dict[str, int]]:
        """By peer: mark -> how often."""
        raw = await self.link.command("HGETALL", keys.REMARKS).wait()
        found: dict[str, dict[str, int]] = {}
        for field, times in zip(raw[::2], raw[1::2], strict=True):
            peer, mark = keys.remark_parts(field.decode())
            found.setdefault(peer, {})[mark] = int(times)
        return found

    @property
    def opened_ms(self) -> int:
        """When something may have been lost last that a session was placed with (`where`)."""
        return self.link.opened_ms

    def where(self, session: str) -> Pending[tuple[str, str] | None]:
        """(account, subscriber) of a session, for a request that names nobody."""
        return self.link.command("GET", keys.where(session), decode=_where)


def _where(raw: bytes | None) -> tuple[str, str] | None:
    return None if raw is None else keys.place_parts(raw.decode())
