"""What a test leaves of the servers of its process is gone when the next one asks for them."""

import pytest
import redis

from tests.servers import LiveValkey

LEFT = [
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
    ("CONFIG", "SET", "min-replicas-to-write", "3"),
    ("CONFIG", "SET", "save", "60 1"),
    ("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all"),
    ("CLIENT", "PAUSE", "60000", "WRITE"),
]


@pytest.mark.parametrize("words", LEFT, ids=" ".join)
def test_a_store_is_set_as_it_was_started(valkey: LiveValkey, words: tuple[str, ...]) -> None:
    with redis.Redis.from_url(valkey.fresh()) as client:
        client.set("left", "by a test")
        before = client.config_get("*"), client.acl_list()
        client.execute_command(*words)
        valkey.fresh()
        assert (client.config_get("*"), client.acl_list()) == before
        assert client.keys("*") == []
        client.set("taken", "at once")
