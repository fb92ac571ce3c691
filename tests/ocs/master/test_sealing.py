"""Secrets in the database are of no use to who has only the database."""

import stat
from pathlib import Path

import msgspec
import pytest

from ocs.config.load import ConfigError, load
from ocs.config.values import Secret
from ocs.master.passwords import StoredPasswords, is_stored
from ocs.master.sealing import KEY_FILE, CannotOpen, Sealing, sealing_of, with_key

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
TEXTS = ["demo", "pässwörd with blanks", "$ealed$x$y", "x" * 128]


@pytest.mark.parametrize("text", TEXTS, ids=["plain", "unicode", "dollars", "long"])
def test_what_is_sealed_opens_again_and_does_not_show(text: str) -> None:
    sealing = Sealing([OLD])
    sealed = sealing.seal(text, "a")
    assert text not in sealed
    assert sealing.open(sealed, "a") == text
    assert sealing.seal(text, "a") != sealed, "equal secrets do not look equal"


def test_it_opens_only_where_it_belongs() -> None:
    sealing = Sealing([OLD])
    with pytest.raises(CannotOpen, match="about something else"):
        sealing.open(sealing.seal("demo", "subscriber 1"), "subscriber 2")


def test_a_changed_one_does_not_open() -> None:
    sealing = Sealing([OLD])
    sealed = sealing.seal("demo", "a")
    flipped = sealed[:-3] + ("A" if sealed[-3] != "A" else "B") + sealed[-2:]
    for bad in (flipped, sealed[:-8], sealed + "AAAA", "sealed", "sealed$", "demo", ""):
        with pytest.raises(CannotOpen):
            sealing.open(bad, "a")


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    old = Sealing([OLD]).seal("demo", "a")
    both = Sealing([NEW, OLD])
    assert both.open(old, "a") == "demo"
    new = both.seal("demo", "a")
    assert Sealing([NEW]).open(new, "a") == "demo"
    with pytest.raises(CannotOpen, match="not among `sealing_keys`"):
        Sealing([NEW]).open(old, "a")


@pytest.mark.parametrize("sealing", [None, Sealing([OLD])], ids=["hashed", "sealed"])
@pytest.mark.parametrize("text", TEXTS, ids=["plain", "unicode", "dollars", "long"])
def test_a_stored_password_is_known_again(sealing: Sealing | None, text: str) -> None:
    passwords = StoredPasswords(sealing)
    stored = passwords.stored(text, "anna")
    assert is_stored(stored)
    assert text not in stored
    assert passwords.matches(stored, "anna", text)
    assert not passwords.matches(stored, "anna", text + "x")
    assert not passwords.matches(stored, "anna", "")
    assert passwords.clear(stored, "anna") == (None if sealing is None else text)


def test_a_sealed_password_of_another_subscriber_is_no_password() -> None:
    passwords = StoredPasswords(Sealing([OLD]))
    with pytest.raises(CannotOpen):
        passwords.matches(passwords.stored("demo", "anna"), "bert", "demo")


def test_a_hashed_one_is_still_known_when_a_key_came() -> None:
    stored = StoredPasswords(None).stored("demo", "anna")
    assert StoredPasswords(Sealing([OLD])).matches(stored, "anna", "demo")


def test_a_sealed_one_without_a_key_says_what_is_missing() -> None:
    stored = StoredPasswords(Sealing([OLD])).stored("demo", "anna")
    with pytest.raises(CannotOpen, match="there are no `sealing_keys`"):
        StoredPasswords(None).matches(stored, "anna", "demo")


# --- where the keys come from


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    config = load(data=tmp_path, environ={})
    first, second = sealing_of(config), sealing_of(config)
    assert first is not None
    assert second is not None
    assert second.open(first.seal("demo", "a"), "a") == "demo"
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_processes_that_are_told_where_it_is_have_the_same_key(tmp_path: Path) -> None:
    config = load(data=tmp_path, environ={})
    told = with_key(config)
    told = msgspec.structs.replace(told, postgres=msgspec.structs.replace(told.postgres, dsn=Secret("postgresql://x")))
    ours, theirs = sealing_of(config), sealing_of(told)
    assert ours is not None
    assert theirs is not None
    assert theirs.open(ours.seal("demo", "a"), "a") == "demo"
    assert with_key(told) is told


def test_with_a_postgresql_of_others_nothing_is_made(tmp_path: Path) -> None:
    config = load(overrides=["postgres.dsn=postgresql://db/ocs"], data=tmp_path, environ={})
    assert sealing_of(config) is None
    assert not [*tmp_path.iterdir()]


def test_keys_come_from_files_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "new").write_text(NEW.hex() + "\n")
    (tmp_path / "old").write_text(OLD.hex() + "\n")
    keys = f'sealing_keys=["file:{tmp_path}/new", "file:{tmp_path}/old"]'
    sealing = sealing_of(load(overrides=[keys], data=tmp_path, environ={}))
    assert sealing is not None
    assert Sealing([NEW]).open(sealing.seal("demo", "a"), "a") == "demo"
    assert sealing.open(Sealing([OLD]).seal("demo", "a"), "a") == "demo"


@pytest.mark.parametrize("key", ["short", "00" * 31, "zz" * 32], ids=["word", "31-octets", "no-hex"])
def test_a_key_of_another_length_is_refused_at_the_start(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sealing_keys\[0\].*32 octets in hex or base64"):
        load(overrides=[f'sealing_keys=["{key}"]'], data=tmp_path, environ={})
