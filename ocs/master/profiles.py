"""Profiles of subscribers in a worker: a bounded cache, and loading from Redis.

A cached profile may be old: an account that was told of a newer change answers `stale`, and the worker loads again.
That an identity is unknown is not cached, because its subscriber may have been created since.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol, TypeGuard

import msgspec

from balances import keys
from balances.redis.calls import NotSent
from balances.redis.clients import values
from balances.redis.pending import Pending
from ocs.charging.profile import Profile

_decode: Final = msgspec.msgpack.Decoder(Profile).decode


def is_profile(packed: bytes | None) -> TypeGuard[bytes]:
    """Not the number that one leaves behind that is gone (projected_store.py)."""
    return packed is not None and not packed.isdigit()


class ProfileStore(Protocol):
    """The part of balances.redis.link.StoreLink that is needed here."""

    def read_projected(self, names: Sequence[str]) -> Pending[Any]: ...


class ProfileCache:
    def __init__(self, redis: ProfileStore, kept_max: int = 50_000) -> None:
        self._redis = redis
        self._kept_max = kept_max
        self._kept: OrderedDict[str | tuple[str, ...], Profile] = OrderedDict()

    def get(self, identity: str | tuple[str, ...]) -> Profile | None:
        """The cached profile, by an identity or by all that a request named; None: not cached."""
        found = self._kept.get(identity)
        if found is not None:
            self._kept.move_to_end(identity)
        return found

    def of(self, identities: tuple[str, ...]) -> Profile | None:
        """The profile of the first of these that anybody has, if it is at hand. Two of them may be of two subscribers:
        who pays must not depend on which of them is at hand."""
        first = self.get(identities[0])
        return first if first is not None or len(identities) == 1 else self.get(identities)

    def load(self, identities: Sequence[str]) -> Pending[Profile | None]:
        """Load from Redis the profile of the first identity that a subscriber has; None: all unknown. NotSent:
        master data is not in Redis yet, so that cannot be known."""
        loaded = Pending[Profile | None]()
        words = [keys.profile(identity) for identity in identities]
        self._redis.read_projected(words).then(lambda values, error: self._loaded(identities, loaded, values, error))
        return loaded

    def __len__(self) -> int:
        return len(self._kept)

    def _loaded(
        self,
        identities: Sequence[str],
        loaded: Pending[Profile | None],
        values: Sequence[bytes | None],
        error: BaseException | None,
    ) -> None:
        if error is not None:
            loaded.fail(error)
            return
        *packed, projected = values
        for identity, one in zip(identities, packed, strict=True):
            if is_profile(one):
                try:
                    # Read at one instant, so every change up to `projected` is in it (projection.py). Without that
                    # mark a projection is under way: what is there may be used, who is not there is not nobody.
                    found = _decode(one)
                    found = msgspec.structs.replace(found, rev=max(found.rev, int(projected or 0)))
                except (msgspec.MsgspecError, ValueError) as why:
                    loaded.fail(NotSent(f"a profile in Redis cannot be read: {why}"))
                    return
                self._keep(identity, found)
                if identity != identities[0]:
                    self._keep(tuple(identities), found)
                loaded.resolve(found)
                return
            self._kept.pop(identity, None)
        self._kept.pop(tuple(identities), None)
        if projected is None:
            loaded.fail(NotSent("the master data is not in Redis yet"))
        else:
            loaded.resolve(None)

    def _keep(self, identity: str | tuple[str, ...], profile: Profile) -> None:
        self._kept[identity] = profile
        self._kept.move_to_end(identity)
        if len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)


AT_ONCE: Final = 500
"""Profiles read in one call."""


async def profiles_of(redis: Any, subscribers: Collection[str]) -> Mapping[str, Profile]:
    """Profiles by the subscriber's id, as the projection has them now; those that are gone are not in it."""
    names = list(subscribers)
    found: dict[str, Profile] = {}
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        packed = await values(redis, [keys.profile(f"subscriber:{name}") for name in some])
        found.update((name, _decode(one)) for name, one in zip(some, packed, strict=True) if is_profile(one))
    return found
