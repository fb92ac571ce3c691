"""What `calls` keeps of a session answers a late repeat as the whole session would."""

from random import Random

import msgspec

from balances.ledger.record import answered, session_head
from balances.packing import unpack_answer, unpack_session
from balances.structs.blob import NO_BLOB, blob_of, raw_of
from balances.structs.record import Record
from balances.structs.session import Answer, Session
from tests.balances.ledger.books import session_of

pack = msgspec.msgpack.Encoder().encode
KEYS = ["1:0", "2:1", "2:2", "3:3"]


def found(session: Session, key: str, fingerprint: str) -> bytes | None:
    """The answer of a request in a session: the newest of its incarnation, then its INITIAL's, then former ones."""
    for raw in (*reversed(session.answers), session.initial, *session.former):
        if blob_of(raw):
            answer = unpack_answer(raw)
            if (answer.key, answer.fingerprint) == (key, fingerprint):
                return blob_of(answer.outcome)
    return None


def test_the_answer_of_the_request_is_kept_and_nothing_else() -> None:
    dice = Random(53)
    hits = 0
    for i in range(500):
        session = session_of(f"gw;{i}", held=5)
        made = [
            raw_of(pack(Answer(dice.choice(KEYS), dice.choice("fg"), n, True, raw_of(b"%d-%d" % (i, n)))))
            for n in range(8)
        ]
        session.answers, session.former = made[: dice.randint(0, 4)], made[4 : dice.randint(4, 7)]
        session.initial = dice.choice([made[7], NO_BLOB])
        packed = pack(session)
        record = Record(2, "charge", "alice", "EUR", "", session.id, "data", 2, 0, 0, dice.choice(KEYS), "f")
        kept = answered(record, packed, session_head(packed))
        expected = found(session, record.key, "f")
        assert found(unpack_session(kept), record.key, "f") == expected
        assert len(kept) < 80
        hits += expected is not None
    assert 100 < hits < 450


def test_a_session_whose_answers_cannot_be_read_is_kept_whole() -> None:
    session = session_of("gw;1")
    session.answers = [msgspec.Raw(pack("no answer"))]
    record = Record(2, "charge", "alice", "EUR", "", session.id, "data", 2, 0, 0, "2:1", "f")
    packed = pack(session)
    assert answered(record, packed, session_head(packed)) == packed
