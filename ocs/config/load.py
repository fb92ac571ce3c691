"""The configuration: one frozen tree, read once, at the start.

A file in TOML, then the environment (`OCS_A__B`), then `--set a.b=value`: later ones win. Anything unknown, of a wrong
type or out of range raises `ConfigError`, which names where the value stood, the key and what was expected: a server
that starts with half of its configuration ignored is worse than one that does not start.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from ocs.config.table import ConfigTable
from ocs.config.tree import Config
from ocs.config.values import EMPTY, Listen, Secret
from ocs.patterns import in_words
from tariffs import toml

OF_COMMANDS = ("OCS_URL", "OCS_TOKEN", "OCS_TOKEN_FILE")
"""In the environment: which server the other commands talk to (ocs/cli/remote.py). No keys of the configuration."""

DEFAULT_FILE = Path("ocs.toml")
"""Read when it exists and no other is named."""

DEMO_CLIENTS: Final = (
    {"address": "127.0.0.0/8", "secret": "testing123", "group": "loopback"},
    {"address": "127.0.0.2", "secret": "testing123", "group": "gateway", "service": "voice", "profile": "cisco-voice"},
)
"""RADIUS for who tries the demo on this machine: a NAS, and a voice gateway."""


class ConfigError(Exception):
    """The configuration cannot be used; the text is meant for the operator."""


def load(
    file: Path | None = None,
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    *,
    data: Path | None = None,
    demo: bool = False,
    roles: str | None = None,
) -> Config:
    """Read the configuration. `overrides` are `a.b=value`; `data`, `demo` and `roles` ("worker,api") are options of
    their own. Raises ConfigError."""
    tree: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    if file is not None:
        tree = _read_file(file)
    for name, text in sorted((os.environ if environ is None else environ).items()):
        if name.startswith("OCS_") and name not in OF_COMMANDS:
            _put(tree, name.removeprefix("OCS_").lower().replace("__", "."), text, origin, f"environment {name}")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {override}: expected key=value")
        _put(tree, key.strip(), text, origin, f"--set {key.strip()}")
    if data is not None:
        tree["data"] = str(data)
    if demo:
        tree["demo"] = True
    if roles is not None:
        tree["host"] = {**tree.get("host", {}), "roles": [role.strip() for role in roles.split(",")]}
        origin["host.roles"] = "--roles"
    if tree.get("demo") is True and isinstance(tree.setdefault("diameter", {}), dict):
        tree["diameter"].setdefault("admit_loopback", True)
    if tree.get("demo") is True and isinstance(tree.setdefault("radius", {}), dict):
        tree["radius"].setdefault("clients", [dict(one) for one in DEMO_CLIENTS])
    return _decode(tree, origin, str(file) if file else "defaults")


def _empty(value: Any, key: str = "") -> str | None:
    """The key of an empty text that was given, None where there is none. It would mean a default nobody asked for."""
    if isinstance(value, str):
        return key if not value.strip() else None
    if isinstance(value, dict):
        found = (_empty(inner, f"{key}.{name}" if key else name) for name, inner in value.items())
    elif isinstance(value, list):
        found = (_empty(inner, f"{key}[{place}]") for place, inner in enumerate(value))
    else:
        return None
    return next((one for one in found if one is not None), None)


def _decode(tree: dict[str, Any], origin: Mapping[str, str], file: str) -> Config:
    empty = _empty(tree)
    if empty is not None:
        raise ConfigError(f"{_source(origin, empty, file)}: {empty}: expected {EMPTY}")
    try:
        return msgspec.convert(tree, Config, dec_hook=_hook)
    except msgspec.ValidationError as why:
        what, at, path = str(why).rpartition(" - at `$")
        what = what if at else path
        path = path if at else ""
        key = path.removesuffix("`").removeprefix(".")
        said = _explain(tree, key, in_words(what).replace("`", ""))
        if not key:  # several keys together: it begins with one of them
            key = said.partition(": ")[0]
        raise ConfigError(f"{_source(origin, key, file)}: {said}") from None


def _source(origin: Mapping[str, str], key: str, file: str) -> str:
    """Where the value of a key stood."""
    plain = re.sub(r"\[.*?\]", "", key)
    return next((source for known, source in origin.items() if f"{known}.".startswith(f"{plain}.")), file)


def _explain(tree: dict[str, Any], key: str, what: str) -> str:
    if unknown := re.match(r"Object contains unknown field (.+)", what):
        return f"{key}.{unknown[1]}: no such key".lstrip(".")
    if what.startswith("Object missing"):
        what = f"Expected {what.removeprefix('Object missing required field ')} to be given"
    elif what.startswith("Invalid enum value"):
        what = f"Expected one of {', '.join(get_args(_kind_at(key)))}"
    elif inner := re.match(r"([\w.\[\]]+): (.+)", what, re.DOTALL):  # of a part of it, which says itself what it is
        return f"{key}.{inner[1]}: {inner[2]}".lstrip(".")
    elif not what.startswith("Expected"):
        what = f"Expected {what}"
    return f"{key or 'the file'}: {what[0].lower()}{what[1:]}{_given(tree, key)}"


def _kind_at(key: str) -> Any:
    """The type of `a.b[0].c`."""
    kind: Any = Config
    for name, index in re.findall(r"(\w+)(\[.*?\])?", key):
        kind = get_type_hints(kind)[name]
        kind = get_args(kind)[0] if index else kind
    return kind


def _given(tree: dict[str, Any], key: str) -> str:
    """What stood there instead, unless it could be a secret."""
    value: Any = tree
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return ""
        value = value[name]
    if isinstance(value, dict | list) or key.rpartition(".")[2] in ("url", "dsn", "secret"):
        return ""
    return f", found {value!r}"


def _hook(kind: type, value: Any) -> Any:
    if kind is Secret or kind is Listen:
        if not isinstance(value, str):
            raise ValueError(f"text, not {type(value).__name__}")
        return kind.read(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return toml.parse(file.read_text(encoding="utf-8"))
    except OSError as why:
        raise ConfigError(f"{file}: cannot be read: {why.strerror}") from None
    except ValueError as why:
        raise ConfigError(f"{file}: not TOML: {why}") from None


def _put(tree: dict[str, Any], key: str, text: str, origin: dict[str, str], source: str) -> None:
    """One value from the command line or environment, in the type its field has."""
    *parents, last = key.split(".")
    kind: Any = Config
    table = tree
    for name in parents:
        kind = _field(kind, name, key, source)
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{source}: {key}: {name} is a list; give it whole: {name}=[...]")
    kind = _field(kind, last, key, source)
    table[last] = text if _is_text(kind) else _toml_value(text)
    origin[key] = source


def _field(kind: Any, name: str, key: str, source: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, ConfigTable):
        hints = get_type_hints(kind)
        if name in hints:
            return hints[name]
    elif get_origin(kind) is dict:
        return get_args(kind)[1]
    elif kind is Any:
        return Any
    raise ConfigError(f"{source}: {key}: no such key")


def _is_text(kind: Any) -> bool:
    """Whether what was typed is the value as it stands, without quotes."""
    choices = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(choice in (str, Secret, Listen, Path) or get_origin(choice) is Literal for choice in choices)


def _toml_value(text: str) -> Any:
    try:
        found = toml.parse(f"value = {text}")
    except ValueError:
        return text
    return found["value"] if len(found) == 1 else text  # a line break brings no further keys
