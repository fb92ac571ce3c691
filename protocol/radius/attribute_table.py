"""Attributes by name and by place: what configuration, vendor profiles and people call them."""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TypeAlias

from protocol.radius.attribute import AnyAttribute, Attribute, folded
from protocol.radius.vendor import Key

Place: TypeAlias = tuple[Key, tuple[int, ...]]


class AttributeTable:
    """Every attribute once. Names are looked up whatever their capitals; `-`, `_` and `.` are one."""

    def __init__(self, attributes: Iterable[AnyAttribute] = ()) -> None:
        self._by_name: dict[str, AnyAttribute] = {}
        self._by_place: dict[Place, AnyAttribute] = {}
        for attribute in attributes:
            self.add(attribute)

    def add(self, attribute: AnyAttribute) -> None:
        """TypeError for a name or a place that is taken."""
        place = (attribute.key, attribute.below)
        if place in self._by_place or folded(attribute.name) in self._by_name:
            other = self._by_place.get(place) or self._by_name[folded(attribute.name)]
            raise TypeError(f"{attribute!r} is also declared as {other!r}")
        self._by_name[folded(attribute.name)] = self._by_place[place] = attribute

    def enrich(self, attribute: AnyAttribute, name: str, values: dict[str, int]) -> None:
        """One more name of an attribute that is here, and names of its values; those it has stay."""
        place = (attribute.key, attribute.below)
        made: AnyAttribute = Attribute(
            attribute.name,
            attribute.code,
            attribute.type,
            vendor=attribute.vendor,
            tagged=attribute.tagged,
            encrypt=attribute.encrypt,
            values={folded(word): number for word, number in values.items()} | attribute.values,
        )
        for known, other in self._by_name.items():
            if other is attribute:
                self._by_name[known] = made
        self._by_name[folded(name)] = self._by_place[place] = made

    def __getitem__(self, name: str) -> AnyAttribute:
        """KeyError for a name that nothing has."""
        return self._by_name[folded(name)]

    def get(self, name: str) -> AnyAttribute | None:
        return self._by_name.get(folded(name))

    def at(self, key: Key, below: tuple[int, ...] = ()) -> AnyAttribute | None:
        return self._by_place.get((key, below))

    def __contains__(self, name: str) -> bool:
        return folded(name) in self._by_name

    def __iter__(self) -> Iterator[AnyAttribute]:
        return iter(self._by_place.values())

    def __len__(self) -> int:
        return len(self._by_place)


def declared_in(*modules: ModuleType) -> Iterator[AnyAttribute]:
    """The attributes that modules declare, in their order."""
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Attribute):
                yield value
