"""What `ocs run` and `ocs check` report of a configuration that is right: keys without effect, and what is unsafe."""

from __future__ import annotations

from ocs.config.radius import Radius
from ocs.config.stores import RedisConfig
from ocs.config.tree import Config


def without_effect(config: Config) -> list[str]:
    """One sentence for each key without effect."""
    found = []
    if config.radius != Radius() and not config.radius.clients:
        found.append("radius: without clients in radius.clients it is not served")
    if skipped := config.radius.known.skipped:
        found.append(f"radius.dictionaries: attributes that cannot be used: {', '.join(skipped)}")
    if not config.radius.radsec_listen:
        found += [
            f"radius.clients[{number}]: tls_subject without radius.radsec_listen: it is not served"
            for number, client in enumerate(config.radius.clients)
            if client.tls_subject
        ]
    if not config.diameter.speaks_tls and (config.diameter.tls_cert or config.diameter.tls_key):
        found.append("diameter.tls_cert, tls_key: neither tls_listen nor a peer's connect_tls is set: all is plain")
    if not config.redis.embedded and config.redis.memory_bytes_max != RedisConfig().memory_bytes_max:
        found.append("redis.memory_bytes_max: only of the embedded store; redis.url has a maxmemory of its own")
    return found


def unsafe(config: Config) -> list[str]:
    """One sentence for each RADIUS client whose answers may be forged for ever (CVE-2024-3596)."""
    return [
        f'radius.clients[{number}] ({client.address}): {key} = "check" takes Access-Requests that are not signed:'
        " who stands between can forge the answers (docs/radius.md)"
        for number, client in enumerate(config.radius.clients)
        for key in ("message_authenticator", "limit_proxy_state")
        if getattr(client, key) == "check" and not client.tls_subject
    ]
