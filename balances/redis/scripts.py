"""Lua scripts: joined from their `@use` parts, with the numbers of struct fields and enums filled in from
balances/structs/table.py.

`LINE.total` in Lua is field `total` of the struct `Line` (index from 1), `RESULT.OK` a value of the enum
`Result`. A name that is not in the table, or a header that differs from SPECS, stops the start.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import Final

import msgspec

from balances.structs import table


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


NUMBERS: Final = table.numbers()
_NAME = re.compile(r"\b[A-Z]+\.[A-Za-z_]+\b|\b(?:" + "|".join(table.NAMED) + r")\b")
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
        raise ValueError(f"a Lua script names {match.group()}, which balances/structs does not have") from None


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
