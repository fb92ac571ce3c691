"""Which shards of a server may be called, from what it said (durability.md rule 4)."""

from __future__ import annotations

import pytest

from balances import keys
from balances.redis.fence import SHUT, Fence

MASTER = b"# Replication\r\nrole:master\r\nmaster_replid:abc\r\n"
OTHER = MASTER.replace(b"abc", b"def")
REPLICA = MASTER.replace(b"master\r", b"slave\r")


def test_each_shard_has_the_epoch_that_its_own_key_says() -> None:
    proof = Fence([3, 7, 9]).judge(MASTER, [[b"abc 5", b"abc 12", b"def 12"]])
    assert proof.epochs == {"003": b"5", "007": b"12"}
    assert (proof.newest, proof.why) == (b"12", SHUT)


def test_of_a_cluster_each_key_is_asked_for_alone() -> None:
    fence = Fence([3, 7], together=False)
    assert fence.questions == [("GET", "{s003}:published"), ("GET", "{s007}:published")]
    assert Fence([3, 7]).questions == [("MGET", "{s003}:published", "{s007}:published")]
    assert fence.packed[1] == b"*2\r\n$3\r\nGET\r\n$16\r\n{s007}:published\r\n"
    fence.own([9])
    assert fence.packed == [b"*2\r\n$3\r\nGET\r\n$16\r\n{s009}:published\r\n"], "of what it has now"
    fence.own([3, 7])
    moved = RuntimeError("MOVED 1 127.0.0.1:1")
    assert fence.judge(MASTER, [moved, b"abc 5"]).epochs == {"007": b"5"}


@pytest.mark.parametrize(
    ("info", "published", "why"),
    [
        (REPLICA, [b"abc 5"], "the server is not a master"),
        (OTHER, [b"abc 5"], SHUT),
        (MASTER, [None], SHUT),
        (MASTER, [b"abcd 5"], SHUT),
        (MASTER, [b"5"], SHUT),
    ],
)
def test_without_proof_nothing_is_open(info: bytes, published: list[bytes | None], why: str) -> None:
    proof = Fence([3]).judge(info, [published])
    assert (dict(proof.epochs), proof.newest, proof.why) == ({}, None, why)


def test_what_is_said_again_is_the_same_proof() -> None:
    """So that nothing is done anew every half second."""
    fence = Fence([3])
    first = fence.judge(MASTER, [[b"abc 5"]])
    assert fence.judge(MASTER, [[b"abc 5"]]) is first
    assert fence.judge(MASTER, [[b"abc 6"]]).epochs == {"003": b"6"}
    assert fence.judge(OTHER, [[b"abc 6"]]).newest is None


def test_all_shards_of_a_plain_store_are_asked_for() -> None:
    ((command, *names),) = Fence().questions
    assert command == "MGET"
    assert names == [keys.published(shard) for shard in range(keys.SHARDS)]
