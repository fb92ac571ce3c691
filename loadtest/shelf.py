"""Scenarios that come with a package, and those of a file: read, with single keys replaced."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

S = TypeVar("S")


class ScenarioError(Exception):
    """The scenario cannot be played; the text is for the user."""


class Shelf(Generic[S]):
    """
    package: in whose folder `scenarios` the shipped ones lie
    kind:    the struct that each of them is
    what:    what people call one
    """

    def __init__(self, package: str, kind: type[S], what: str) -> None:
        self._package, self._kind, self._what = package, kind, what

    def shipped(self) -> list[str]:
        """Names of those that come with the package."""
        return sorted(path.name[:-5] for path in self._folder().iterdir() if path.name[-5:] == ".toml")

    def load(self, name: str, **overrides: object) -> S:
        """A shipped one by its name, or a file by its path; `overrides` that are not None replace its keys. Raises
        ScenarioError."""
        names = self.shipped()
        place = self._folder().joinpath(f"{name}.toml") if name in names else Path(name)
        try:
            tree = msgspec.toml.decode(place.read_bytes())
            tree.update({key: value for key, value in overrides.items() if value is not None})
            return msgspec.convert(tree, self._kind)
        except FileNotFoundError:
            text = f"no {self._what} {name!r}; shipped ones: {', '.join(names)}; or the path of a file"
            raise ScenarioError(text) from None
        except (ValueError, TypeError, OSError) as why:
            raise ScenarioError(f"{place}: {why}") from None

    def _folder(self) -> Traversable:
        return files(self._package).joinpath("scenarios")
