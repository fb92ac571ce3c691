"""The balance operations, typed: one call each, of a script whose twin is a method of `model.Model`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from balances import keys, ops
from balances.pending import Pending
from balances.wire import Link
from tariffs.ladder import Ladder

_encode: Final = msgspec.msgpack.Encoder().encode
_account: Final = msgspec.msgpack.Decoder(ops.Account).decode
_session: Final = msgspec.msgpack.Decoder(ops.Session).decode
_outcome: Final = msgspec.msgpack.Decoder(ops.Outcome).decode
_answer: Final = msgspec.msgpack.Decoder(ops.Answer).decode
_posted: Final = msgspec.msgpack.Decoder(ops.Posted).decode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode


def unpack_account(packed: bytes) -> ops.Account:
    return _account(packed)


def unpack_session(packed: bytes) -> ops.Session:
    return _session(packed)


def unpack_outcome(packed: bytes) -> ops.Outcome:
    """The answer of a charge, also one stored long ago."""
    return _outcome(packed)


def unpack_answer(raw: msgspec.Raw) -> ops.Answer:
    """One of `Session.answers`."""
    return _answer(ops.blob(raw))


def unpack_posted(packed: bytes) -> ops.Posted:
    return _posted(packed)


def unpack_ladder(packed: bytes) -> Ladder:
    return _ladder(packed)


def pack(struct: msgspec.Struct) -> bytes:
    return _encode(struct)


def _reply(raw: list[Any]) -> ops.Reply:
    """[status, outcome, sessions, holds, held money], later ones absent in short replies."""
    return ops.Reply(raw[0].decode(), *raw[1:])


class Store:
    """Balance operations over one `Link`. Every method returns at once; the Pending fails with `wire.NotSent` when
    the call was certainly not sent and with `wire.Lost` when its fate is unknown."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def charge(self, charge: ops.Charge, context: bytes, of: keys.AccountKeys | None = None) -> Pending[ops.Reply]:
        """One credit-control request. Reply.outcome is a packed Outcome for `ok` and `again`."""
        of = of or keys.AccountKeys(charge.account)
        names: tuple[str, ...]
        if charge.phase == ops.Phase.EVENT:
            once = keys.once(charge.account, charge.once_key)
            names = (of.account, of.sessions, of.due, of.ledger, once, f"{once} {charge.fingerprint}")
            if charge.refund_of:
                names = (*names, keys.once(charge.account, charge.refund_of))
        else:
            names = (of.account, of.sessions, of.due, of.ledger)
            if charge.phase == ops.Phase.START:  # in the same write, before it: a later request may name nobody
                self.link.command("SET", keys.where(charge.session), f"{charge.account}\n{charge.subscriber}")
        return self.link.script("charge", names, (_encode(charge), context), _reply)

    def post(self, post: ops.Post) -> Pending[ops.Reply]:
        """Top-up, adjustment, refund, fee. Reply.outcome is a packed Posted for `ok`, `again` and `refused`."""
        of = keys.AccountKeys(post.account)
        names = (of.account, keys.once(post.account, post.key), of.due, of.ledger)
        return self.link.script("post", names, (_encode(post),), _reply)

    def settings(self, settings: ops.Settings) -> Pending[ops.Reply]:
        """Change versioned fields. Reply.outcome is the packed Account (`ok`, `revision`, `refused`)."""
        of = keys.AccountKeys(settings.account)
        return self.link.script("settings", (of.account, of.due, of.ledger), (_encode(settings),), _reply)

    def sweep(self, sweep: ops.Sweep) -> Pending[ops.Reply]:
        """What time alone changes, for one member of `due`."""
        of = keys.AccountKeys(sweep.account)
        return self.link.script("sweep", (of.account, of.sessions, of.due, of.ledger), (_encode(sweep),), _reply)

    def open(self, account_id: str, opening: ops.Opening) -> Pending[ops.Reply]:
        """Bring an account in, if it is absent: `ok` or `exists`."""
        of = keys.AccountKeys(account_id)
        onces = (keys.once(account_id, once.key) for once in opening.onces)
        names = (of.account, of.sessions, of.due, of.ledger, *onces)
        return self.link.script("open", names, (_encode(opening),), _reply)

    def account(self, account_id: str) -> Pending[ops.Account | None]:
        return self.link.command(
            "GET", keys.account(account_id), decode=lambda raw: None if raw is None else _account(raw)
        )

    def session(self, account_id: str, session: str) -> Pending[ops.Session | None]:
        return self.link.command(
            "HGET", keys.sessions(account_id), session, decode=lambda raw: None if raw is None else _session(raw)
        )

    async def read(self, account_id: str) -> tuple[ops.Account, list[ops.Session]] | None:
        """The account and its sessions, as of one instant; None when Redis does not have it."""
        both = (
            self.link.command("GET", keys.account(account_id)),
            self.link.command("HVALS", keys.sessions(account_id)),
        )
        packed, sessions = await both[0].wait(), await both[1].wait()
        if packed is None:
            return None
        return _account(packed), [_session(one) for one in sessions]

    def where(self, session: str) -> Pending[tuple[str, str] | None]:
        """(account, subscriber) of a session, for a request that names nobody."""
        return self.link.command("GET", keys.where(session), decode=_where)


def _where(raw: bytes | None) -> tuple[str, str] | None:
    if raw is None:
        return None
    account, _, subscriber = raw.decode().partition("\n")
    return account, subscriber


def fresh_account(account_id: str, currency: str, **fields: int) -> ops.Account:
    """An account nothing has happened to, with its main money bucket."""
    account = ops.Account(
        version=ops.FORMAT,
        id=account_id,
        currency=currency,
        rev=1,
        profile_rev=0,
        seq=0,
        clock_ms=0,
        state=ops.State.ACTIVE,
        credit_limit=0,
        suspend_below=ops.NEVER,
        resume_at=ops.NEVER,
        next_bucket=1,
        buckets=[ops.Bucket(ops.MAIN, 0, 0, name="main")],
        counters=[],
    )
    for name, value in fields.items():
        setattr(account, name, value)
    return account
