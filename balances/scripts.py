"""Lua scripts: joined from their `@use` parts, with the numbers of struct fields and enums filled in from ops.py.

`LINE.total` in Lua is field `total` of `ops.Line` (index from 1), `RESULT.OK` the value of `ops.Result.OK`. A name
that ops.py does not have, or a header that differs from SPECS, stops the start.
"""

from __future__ import annotations

import hashlib
import re
from enum import IntEnum, IntFlag
from importlib import resources
from typing import Final

import msgspec

from balances import ops
from tariffs import ladder, units


class ScriptHeader(msgspec.Struct, frozen=True):
    """What a script promises in its header."""

    keys: str
    argv: str
    exits: str


SPECS: Final = {
    "charge": ScriptHeader(
        "account sessions due ledger once renumbered original",
        "epoch charge context",
        "ok again absent stale facts longer fenced full elsewhere other",
    ),
    "post": ScriptHeader("account once due ledger", "epoch post", "ok again conflict refused absent fenced full"),
    "aside": ScriptHeader("ledger", "epoch record context", "ok fenced full"),
    "settings": ScriptHeader("account due ledger", "epoch settings", "ok revision refused absent fenced full"),
    "sweep": ScriptHeader("account sessions due ledger", "epoch sweep", "ok later gone absent fenced full"),
    "open": ScriptHeader("account sessions due ledger once...", "epoch opening", "ok exists fenced full"),
    "forget": ScriptHeader("account sessions ledger", "head", "ok moved"),
}


class Script(msgspec.Struct, frozen=True):
    name: str
    text: str
    sha: str


PLAIN: Final = (
    *("MAIN", "BUCKETS_MAX", "ANSWERS_KEPT", "ASIDE_WAITING_MAX", "FORMER_KEPT", "SAME_MS", "COUNTER_KEPT_MS"),
    *("CUTS_MAX", "SESSION_LINES_MAX", "INTERVALS_MAX", "FACTS_MAX", "WHOLE"),
)
"""Numbers of ops.py that scripts name as they are."""


def _numbers() -> dict[str, str]:
    numbers = {name: str(getattr(ops, name)) for name in PLAIN}
    for module in (ops, ladder, units):
        for name, thing in vars(module).items():
            if isinstance(thing, type) and issubclass(thing, msgspec.Struct):
                fields = thing.__struct_fields__
                numbers |= {f"{name.upper()}.{field}": str(at) for at, field in enumerate(fields, 1)}
            elif isinstance(thing, type) and issubclass(thing, IntEnum | IntFlag):
                numbers |= {f"{name.upper()}.{member}": str(value.value) for member, value in thing.__members__.items()}
    return numbers


NUMBERS: Final = _numbers()
_NAME = re.compile(r"\b[A-Z]+\.[A-Za-z_]+\b|\b(?:" + "|".join(PLAIN) + r")\b")
_USE = re.compile(r"^-- @use (\S+)$", re.MULTILINE)


def _read(name: str) -> str:
    return resources.files("balances").joinpath(f"lua/{name}.lua").read_text()


def _joined(name: str, seen: set[str]) -> str:
    """The text with each part it uses put before it, once."""
    text = _read(name)
    parts = []
    for used in _USE.findall(text):
        if used not in seen:
            seen.add(used)
            parts.append(_joined(used, seen))
    return "\n".join([*parts, text])


def _number(match: re.Match[str]) -> str:
    try:
        return NUMBERS[match.group()]
    except KeyError:
        raise ValueError(f"a Lua script names {match.group()}, which balances/ops.py does not have") from None


def load(name: str) -> Script:
    """The script ready to be loaded into a server; ValueError when its header is not what SPECS promises."""
    text = _read(name)
    header = dict(re.findall(r"^-- (KEYS|ARGV|EXIT) +(.+)$", text, re.MULTILINE))
    spec = SPECS[name]
    if header != {"KEYS": spec.keys, "ARGV": spec.argv, "EXIT": spec.exits}:
        raise ValueError(f"lua/{name}.lua promises {header}, SPECS says {spec}")
    shebang = text.partition("\n")[0] + "\n" if text.startswith("#!") else ""
    body = "\n".join(line for line in _joined(name, set()).splitlines() if not line.startswith("#!"))
    body = shebang + _NAME.sub(_number, "\n".join(line for line in body.splitlines() if not line.startswith("--")))
    return Script(name, body, hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest())


def allowing_oom(script: Script, name: str) -> Script:
    """The same, executed although memory is full: what gives money and memory back has to go on."""
    text = "#!lua flags=allow-oom\n" + script.text
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ALL: Final = {name: load(name) for name in SPECS}
ALL["settle"] = allowing_oom(ALL["charge"], "settle")
"""`charge` for requests that report what was used: they are settled although memory is full."""
