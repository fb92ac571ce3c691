"""What all structs of the store have in common."""

import importlib
import pkgutil

import msgspec
import pytest

from balances import structs

STRUCTS = {
    name: one
    for module in pkgutil.iter_modules(structs.__path__)
    for name, one in vars(importlib.import_module(f"balances.structs.{module.name}")).items()
    if isinstance(one, type) and issubclass(one, msgspec.Struct) and one is not msgspec.Struct
}


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_the_collector_need_not_look_into_them(name: str) -> None:
    """They are made of numbers, texts and each other, never of a circle: some dozen are made for each request."""
    assert not STRUCTS[name].__struct_config__.gc
