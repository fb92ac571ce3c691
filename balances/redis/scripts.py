"""One library of Redis functions, made of all scripts and the parts they `@use`, each part once, with the numbers of
struct fields and enums filled in from balances/structs/table.py.

`LINE.total` in Lua is field `total` of the struct `Line` (index from 1), `RESULT.OK` a value of the enum
`Result`. A name that is not in the table, or a header that differs from SPECS, stops the start.

Names are by content, of the library and of its functions: in an upgrade two versions work side by side on one store,
and what is loaded under a name never changes (libraries.py).
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import Final

import msgspec

from balances.redis.literals import expanded, with_known
from balances.structs import table
from balances.structs.blob import READS


class ScriptHeader(msgspec.Struct, frozen=True):
    """What a script promises in its header. Any call may also end in `full`: then the server has refused it unread."""

    keys: str
    argv: str
    exits: str


SPECS: Final = {
    "charge": ScriptHeader(
        "account due ledger once renumbered original",
        "epoch charge context adopts limited",
        "ok again absent stale facts longer fenced full elsewhere other crowded untold lapsed",
    ),
    "post": ScriptHeader(
        "account once due ledger original", "epoch post", "ok again conflict refused absent fenced full"
    ),
    "transfer": ScriptHeader(
        "account once due ledger", "epoch transfer", "ok again conflict refused absent fenced full"
    ),
    "close": ScriptHeader(
        "account once due ledger", "epoch close", "ok again conflict refused held remains absent fenced full"
    ),
    "fee": ScriptHeader("account due ledger", "epoch fee", "ok again refused stale absent fenced full"),
    "aside": ScriptHeader("ledger", "epoch record context", "ok fenced full"),
    "settings": ScriptHeader("account due ledger", "epoch settings", "ok revision refused absent fenced full"),
    "expire": ScriptHeader("account due ledger", "epoch expire", "ok later gone absent fenced full"),
    "open": ScriptHeader("account due ledger once...", "epoch opening", "ok exists fenced full"),
    "forget": ScriptHeader("account ledger", "head", "ok moved"),
}


ALTHOUGH_FULL: Final = {"settle": "charge", "expire": "expire", "forget": "forget"}
"""Functions that are called although memory is full, and the scripts they are: what settles use or releases a hold
gives memory back, and has to go on. `settle` is `charge` for requests that report what was used."""


class Library(msgspec.Struct, frozen=True):
    """What is loaded into a server, and what is called there."""

    name: str
    text: str
    functions: dict[str, str]
    """By the name of the script (and `settle`), the name of its function."""


FAMILY: Final = "ocs_"
"""What the names of all our libraries begin with."""

NUMBERS: Final = table.numbers()
_FORMAT: Final = re.compile(r"\bFORMAT\b")
_NAME = re.compile(r"\b[A-Z]+\.[A-Za-z_]+\b|\b(?:" + "|".join(table.NAMED) + r")\b")
_COMMENT = re.compile(r"(?m)^--.*\n|\s+-- .*$")
_USE = re.compile(r"^-- @use (\S+)$", re.MULTILINE)


def _read(name: str) -> str:
    return resources.files("balances").joinpath(f"lua/{name}.lua").read_text()


def _number(match: re.Match[str]) -> str:
    try:
        return NUMBERS[match.group()]
    except KeyError:
        raise ValueError(f"a Lua script names {match.group()}, which balances/structs does not have") from None


def _code(text: str) -> str:
    """Without comments, with arrays for literals of structs and numbers for names but FORMAT."""
    return _NAME.sub(_number, expanded(_COMMENT.sub("", with_known(text))))


def _parts(text: str, seen: dict[str, str]) -> dict[str, str]:
    """`seen` with the parts that a text uses, each after those that it uses itself."""
    for used in _USE.findall(text):
        if used not in seen:
            part = _read(used)
            _parts(part, seen)
            seen[used] = _code(part)
    return seen


def _checked(name: str) -> str:
    """The text of a script; ValueError when its header is not what SPECS promises."""
    text = _read(name)
    header = dict(re.findall(r"^-- (KEYS|ARGV|EXIT) +(.+)$", text, re.MULTILINE))
    spec = SPECS[name]
    if header != {"KEYS": spec.keys, "ARGV": spec.argv, "EXIT": spec.exits}:
        raise ValueError(f"lua/{name}.lua promises {header}, SPECS says {spec}")
    return text


_VERSION: Final = "@version"
"""Where the hash of the text comes to stand."""

_FRAME: Final = """\
#!lua name={family}{version}
local operations
local function make()
{parts}
local operations = {{}}
{operations}
return operations
end
local function operation(name)
  return function(keys, arguments)
    operations = operations or make()
    return operations[name](keys, arguments)
  end
end
{registrations}
"""
"""While a library is loaded only `redis.register_function` can be seen, no `math` and no `cmsgpack`: so everything is
made at the first call. From then on the functions stay; what a call notes for itself begins anew in each."""

_OPERATION: Final = "function operations.{name}(KEYS, ARGV)\n{code}\nend"
_REGISTRATION: Final = (
    "redis.register_function{{function_name='{name}_{version}', callback=operation('{script}'), flags={{{flags}}}}}"
)


def library(stored: int = READS[0]) -> Library:
    """All scripts, ready to be loaded into a server, writing this stored format."""
    parts: dict[str, str] = {}
    scripts = {name: _checked(name) for name in SPECS}
    for text in scripts.values():
        _parts(text, parts)
    registered = {name: name for name in SPECS} | ALTHOUGH_FULL
    text = _FRAME.format(
        family=FAMILY,
        version=_VERSION,
        parts="\n".join(parts.values()),
        operations="\n".join(_OPERATION.format(name=name, code=_code(text)) for name, text in scripts.items()),
        registrations="\n".join(
            _REGISTRATION.format(
                name=name, version=_VERSION, script=script, flags="'allow-oom'" if name in ALTHOUGH_FULL else ""
            )
            for name, script in registered.items()
        ),
    )
    text = _FORMAT.sub(str(stored), text)
    version = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Library(
        FAMILY + version, text.replace(_VERSION, version), {name: f"{name}_{version}" for name in registered}
    )


LIBRARIES: Final = {stored: library(stored) for stored in READS}
"""By the stored format that each writes; all read all of them."""
LIBRARY: Final = LIBRARIES[READS[0]]
"""The one to be called where nobody knows what is written."""
