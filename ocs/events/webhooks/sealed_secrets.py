"""Secrets of webhooks as they lie in PostgreSQL: sealed by a key that is not in it (ocs/master/sealing.py)."""

from __future__ import annotations

from ocs.master.sealing import CannotOpen, Sealing


class WebhookSecrets:
    """sealing: None where there is no key; then no webhook can be made."""

    def __init__(self, sealing: Sealing | None) -> None:
        self._sealing = sealing

    @property
    def possible(self) -> bool:
        """There is a key."""
        return self._sealing is not None

    def sealed(self, secret: str, webhook: str) -> str:
        """As it is kept. Raises CannotOpen where there is no key."""
        return self._key().seal(secret, _about(webhook))

    def clear(self, sealed: str, webhook: str) -> str:
        """The secret itself. Raises CannotOpen."""
        return self._key().open(sealed, _about(webhook))

    def _key(self) -> Sealing:
        if self._sealing is None:
            raise CannotOpen("there are no `sealing_keys`")
        return self._sealing


def _about(webhook: str) -> str:
    return f"secret of webhook {webhook}"
