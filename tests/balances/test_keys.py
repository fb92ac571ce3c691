"""No text from outside can imitate the parts of a key (balances/keys.py)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balances import keys
from balances.structs.account import AccountField

NASTY = (
    "",
    "|",
    "\t",
    "\n",
    " ",
    "\0",
    "%",
    "%7C",
    "X|7",
    "X%7C7",
    "a b",
    "\x85",
    "\xa0",
    "http",
    "event",
    "é;1",
    "1:0",
)
texts = st.one_of(st.sampled_from(NASTY), st.text(st.sampled_from("aX7|%\t\n \0:;C"), max_size=6), st.text(max_size=12))
names = st.builds(keys.SessionName, texts, st.none() | st.integers(0, 2**64 - 1), st.one_of(st.none(), texts))
sessions = names.map(lambda name: keys.session_key(*name))


@given(texts)
def test_a_part_has_no_separator_and_is_read_again(text: str) -> None:
    written = keys.part(text)
    assert "|" not in written
    assert not any(c.isspace() or c < " " for c in written if c < "\u0100")
    assert keys.text_of(written) == text


@given(names)
@example(keys.SessionName("X|7"))
@example(keys.SessionName("X", 7))
@example(keys.SessionName("X", None, ""))
def test_the_key_of_a_session_is_read_again(name: keys.SessionName) -> None:
    assert keys.session_name(keys.session_key(*name)) == name


@given(names, names)
@example(keys.SessionName("X|7"), keys.SessionName("X", 7))
@example(keys.SessionName("X\tgw"), keys.SessionName("X", None, "gw"))
def test_two_sessions_have_two_keys(one: keys.SessionName, other: keys.SessionName) -> None:
    assert (keys.session_key(*one) == keys.session_key(*other)) == (one == other)


def test_a_usual_session_id_is_its_own_key() -> None:
    assert keys.session_key("pgw.example.net;1700000000;7") == "pgw.example.net;1700000000;7"
    assert keys.session_key("a;1;2", 7) == "a;1;2|7"
    assert keys.session_key("X|7") == "X%7C7"
    assert keys.session_key("call", None, "gw.net") == "call||gw.net"


@pytest.mark.parametrize("text", ["X|", "X|07", "X|-1", "X|x", "X|1|a|b", "%7c", "%", "a b", "%41"])
def test_what_is_no_key_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        keys.session_name(text)


@given(texts)
def test_a_session_is_found_by_the_name_it_has_on_the_wire(text: str) -> None:
    assert keys.session_key(text) in keys.session_keys_of(text)


@given(names)
def test_a_session_is_found_by_its_key(name: keys.SessionName) -> None:
    key = keys.session_key(*name)
    assert keys.session_keys_of(key)[0] == key


once = st.one_of(
    st.tuples(st.just("event"), sessions, st.integers(0, 2**32 - 1), st.none() | st.integers(0, 2**32 - 1)),
    st.tuples(
        st.just("again"), sessions, st.integers(0, 2**32 - 1), st.text("0123456789abcdef", min_size=16, max_size=16)
    ),
    st.tuples(st.just("http"), texts, texts),
    st.tuples(st.just("token"), texts),
)


def once_key(of: tuple[object, ...]) -> str:
    match of:
        case ("event", str(session), int(number), int() | None as end_to_end):
            return keys.event_key(session, number, end_to_end)
        case ("again", str(session), int(number), str(fingerprint)):
            return keys.renumbered(keys.event_key(session, number), fingerprint)
        case ("http", str(caller), str(key)):
            return keys.request_key(caller, key)
        case ("token", str(token)):
            return keys.refund_key(token.encode("utf-8", "replace"))
    raise AssertionError(of)


@given(once, once, texts, texts)
def test_what_is_done_once_is_done_under_one_key(
    one: tuple[object, ...], other: tuple[object, ...], account: str, of: str
) -> None:
    assert (once_key(one) == once_key(other)) == (one == other)
    same = (account, once_key(one)) == (of, once_key(other))
    assert (keys.once(account, once_key(one)) == keys.once(of, once_key(other))) == same


@given(texts, texts)
def test_an_idempotency_key_is_read_again(caller: str, key: str) -> None:
    assert keys.idempotency_key(keys.request_key(caller, key)) == key


@given(texts)
def test_a_token_from_the_wire_names_events_alone(token: str) -> None:
    assert not keys.refund_key(token.encode("utf-8", "replace")).startswith("http")
    event = keys.event_key(keys.session_key(token), 0)
    assert keys.refund_key(event.encode()) == event


@given(texts, sessions, texts)
def test_members_of_due_and_places_are_read_again(account: str, session: str, subscriber: str) -> None:
    assert keys.due_parts(keys.due_member(account, session)) == (account, session)
    assert keys.due_parts(keys.due_member(account)) == (account, "")
    assert keys.place_parts(keys.place(account, subscriber)) == (account, subscriber)


@given(sessions)
def test_no_session_stands_in_the_place_of_its_account(session: str) -> None:
    """They are fields of one hash (balances/structs/account.py)."""
    assert session != AccountField.ACCOUNT
