"""Which events somebody asks for: by type, account and service. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec import Struct

BY_NAME_ONLY: Final = frozenset({"balance.changed"})
"""Not among "all types": one for each charge."""


class EventFilter(Struct, frozen=True):
    """Empty: all. With services, events of no service are not among them."""

    types: tuple[str, ...] = ()
    """Names, or `session.*` for all that begin so."""
    accounts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def names(self, type_: str) -> bool:
        """Whether events of this type are asked for."""
        if not self.types:
            return type_ not in BY_NAME_ONLY
        return type_ in self.types or any(
            asked.endswith(".*") and type_.startswith(asked[:-1]) and type_ not in BY_NAME_ONLY for asked in self.types
        )

    def of(self, types: Collection[str]) -> list[str]:
        """Which of these types are asked for."""
        return [type_ for type_ in types if self.names(type_)]

    def takes(self, type_: str, account: str, service: str) -> bool:
        return (
            self.names(type_)
            and (not self.accounts or account in self.accounts)
            and (not self.services or service in self.services)
        )
