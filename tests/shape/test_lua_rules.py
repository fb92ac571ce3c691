"""Every script in balances/lua has the same form, because what it must never do is then visible in it.

read, decide, write: nothing is read after the first write, nothing is refused after it (Redis keeps what was written),
and the first write is the record from which the call could be done again.
"""

import re
from collections.abc import Iterator

import pytest

from tests.shape import lua
from tests.shape.source import ROOT, files, text

FOLDER = "balances/lua/"
LIBRARY = f"{FOLDER}lib/"
ALL = files(".lua", "balances")
SCRIPTS = [path for path in ALL if not path.startswith(LIBRARY)]

FORBIDDEN = {
    r"\bcjson\b": "cjson loses digits above 10^14",
    r"\btostring\b": "tostring loses digits above 10^14: string.format('%d', x)",
    r"%\.?\d*[gf]\b": "%g and %f round; '%d' is exact to 2^53 and prints -0 as 0",
    r"\bmath\.random": "chance is passed in",
    r"\bos\.": "time is passed in",
    r"\bloadstring\b|\bsetfenv\b|\brawset\b": "no code from data",
    r"\bwhile\b|\brepeat\b|\bgoto\b": "loops are bounded: for, over something with a limit",
    r"\bredis\.sha1hex\b": "identity is passed in",
}
AMOUNT = f"{LIBRARY}amount.lua"  # where an amount becomes text, and the only place that may know how


def faults(source: str, name: str, library: dict[str, str]) -> Iterator[str]:
    """What is wrong with a script; `library` is the text of each part it may `@use`."""
    head = lua.header(source)
    if not head or not head[0].startswith(f"{name}:"):
        yield f"the first line is not `-- {name}: what it does`"
    for word in ("KEYS", "ARGV", "EXIT"):
        if not any(line.split(" ")[0] == word for line in head):
            yield f"the header has no {word} line"
    marks = re.findall(rf"^-- ({'|'.join(lua.PARTS)})\b", source, re.M)
    if marks != list(lua.PARTS):
        yield f"marked parts are {marks}, not {list(lua.PARTS)}"
        return
    known = lua.functions(source)
    for used in lua.uses(source):
        if used not in library:
            yield f"uses {used}, which is not there"
        known |= lua.functions(library.get(used, ""))
    parts = lua.parts(source)
    for part, allowed in (("read", lua.READS), ("decide", frozenset[str]())):
        for command in lua.commands(parts[part][1], parts[part][0], known):
            if command.name not in allowed:
                yield f"line {command.line}: {command.name} in the {part} part"
    first_line, code = parts["write"]
    writes = [*lua.commands(code, first_line, known)]
    for command in writes:
        if command.name not in lua.WRITES:
            yield f"line {command.line}: {command.name} after the first write"
    unrecorded = any(line.startswith("RECORD none:") for line in head)  # followed by the reason
    if writes and writes[0].name != "XADD" and not unrecorded:
        first = writes[0]
        yield f"line {first.line}: the first write is {first.name}, not the record's XADD; or `-- RECORD none: why`"
    if writes:
        after = "\n".join(code.splitlines()[writes[0].line - first_line + 1 :])
        if len(re.findall(r"\breturn\b", after)) > 1 or re.search(r"\berror\s*\(|\berror_reply\b", after):
            yield "more than one way out after the first write"


def faults_anywhere(source: str, path: str) -> Iterator[str]:
    """What is wrong in a script or a part of one."""
    for number, line in enumerate(lua.without_comments(source).splitlines(), 1):
        for pattern, why in FORBIDDEN.items():
            if path != AMOUNT and re.search(pattern, line):
                yield f"line {number}: {why}"
        for call in re.finditer(r"redis\.p?call\(([^,)]*)(?:,\s*([^,)]*))?", line):
            if not re.fullmatch(r"\s*(['\"])\w+\1\s*", call[1]):
                yield f"line {number}: which command is called must be readable: {call[0]}"
            if call[2] and re.search(r"['\"]|\.\.", call[2]):
                yield f"line {number}: a key comes from KEYS, or Redis Cluster cannot route the call: {call[2]}"


def parts_in_library() -> dict[str, str]:
    return {path.removeprefix(FOLDER).removesuffix(".lua"): text(path) for path in ALL if path.startswith(LIBRARY)}


@pytest.mark.parametrize("path", SCRIPTS)
def test_script(path: str) -> None:
    name = path.removeprefix(FOLDER).removesuffix(".lua")
    assert [*faults(text(path), name, parts_in_library())] == []


@pytest.mark.parametrize("path", ALL)
def test_script_or_part(path: str) -> None:
    assert [*faults_anywhere(text(path), path)] == []


def test_all_lua_is_here() -> None:
    folders = [folder.name for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    assert files(".lua", *folders) == ALL


GOOD = """\
-- credit: add to a bucket, once.
-- KEYS  account ledger
-- ARGV  amount
-- EXIT  done unknown
-- @use lib/record

local function plus(a, b)
  return a + b
end

-- read
local packed = redis.call('GET', KEYS[1])
-- decide
if not packed then return {'unknown'} end
local amount = plus(1, 2)
-- write
append(KEYS[2], amount)
redis.call('SET', KEYS[1], amount)   -- last
return {'done'}
"""
RECORD = "local function append(key, amount)\n  return redis.call('XADD', key, '*', 'a', amount)\nend\n"


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (GOOD, ""),
        (changed("-- credit:", "-- debit:"), "first line"),
        (changed("-- EXIT", "-- exit"), "no EXIT line"),
        (changed("-- decide\n", ""), "marked parts"),
        (changed("lib/record", "lib/other"), "lib/other, which is not there"),
        (changed("local amount =", "redis.call('SET', KEYS[1], 0)\nlocal amount ="), "SET in the decide part"),
        (changed("-- decide", "redis.call('DEL', KEYS[1])\n-- decide"), "DEL in the read part"),
        (changed("return {'done'}", "return redis.call('GET', KEYS[1])"), "GET after the first write"),
        (changed("return a + b", "return redis.call('GET', KEYS[1])"), "GET in the decide part"),
        (changed("append(KEYS[2], amount)\n", ""), "the first write is SET"),
        (changed("   -- last", "\nif amount then return {'unknown'} end"), "more than one way out"),
        (changed("'GET'", "'TIME'"), "TIME in the read part"),
        (changed("'GET'", "'KEYS'"), "KEYS in the read part"),
        (changed("'GET'", "'RANDOMKEY'"), "RANDOMKEY in the read part"),
        (changed("'GET'", "ARGV[1]"), "must be readable"),
        (changed("'SET', KEYS[1]", "'SET', 'account:' .. ARGV[1]"), "a key comes from KEYS"),
        (changed("amount)   -- last", "tostring(amount))"), "tostring loses digits"),
        (changed("amount)   -- last", "cjson.encode(amount))"), "cjson loses digits"),
        (changed("-- decide\n", "-- decide\nwhile true do end\n"), "loops are bounded"),
    ],
)
def test_the_rules_themselves(source: str, fault: str) -> None:
    found = [*faults(source, "credit", {"lib/record": RECORD}), *faults_anywhere(source, "balances/lua/credit.lua")]
    assert any(fault in text for text in found) if fault else found == [], found
