"""Every script in balances/lua has the same form, because what it must never do is then visible in it.

read, decide, write: nothing is read after the first write, nothing is refused after it (Redis keeps what was written),
and the first write is the record from which the call could be done again.
"""

import re
from collections.abc import Iterator

import pytest

from balances.redis.scripts import LIBRARY as LIBRARY_OF_ALL
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
    r"\bwhile\b|\brepeat\b|\bgoto\b": "loops are bounded: for, or `-- bounded: by what` on the line",
    r"\bredis\.sha1hex\b": "identity is passed in",
}
REFUSALS = {"blocked", "conflict", "empty", "fenced", "full", "moved", "refused", "revision", "stale", "unknown"}
AMOUNT = f"{LIBRARY}amount.lua"  # where an amount becomes text, and the only place that may know how


def faults(source: str, name: str, library: dict[str, str]) -> Iterator[str]:
    """What is wrong with a script; `library` is the text of each part it may `@use`."""
    head = lua.header(source)
    if not head or not head[0].startswith(f"{name}:"):
        yield f"the first line is not `-- {name}: what it does`"
    for word in ("KEYS", "ARGV", "EXIT"):
        if not any(line.split(" ")[0] == word for line in head):
            yield f"the header has no {word} line"
    body = lua.main(source)
    parts = lua.part_lines(body)
    if list(parts) != list(lua.PARTS):
        yield f"the marked parts are {list(parts)}, not {list(lua.PARTS)}"
        return

    known, missing = lua.with_library(source, library)
    for used in missing:
        yield f"uses {used}, which is not there"
    writers = {function for function, code in known.items() if lua.write_blocks(code)}
    plain = {function: code for function, code in known.items() if function not in writers}
    recorded = not re.search(r"\b[Ww]rites? no record\b", " ".join(head))  # a script that needs none says so, and why

    yield from faults_of_reading(lua.only(body, set(parts["read"])), plain)
    with_writes = {"": body} | {f" of {writer}": known[writer] for writer in sorted(writers)}
    for where, code in with_writes.items():
        blocks = lua.write_blocks(code)
        deciding = set(range(1, len(code.splitlines()))).difference(*blocks, [] if where else parts["read"])
        yield from faults_of_deciding(lua.only(code, deciding), plain, writers, where)
        for block in blocks:
            yield from faults_of_writing(lua.only(code, set(block)), plain, recorded, where)


def faults_of_reading(code: str, known: dict[str, str]) -> Iterator[str]:
    for command in lua.commands(code, known):
        if command.name not in lua.READS:
            yield f"line {command.line}: {command.name} in the read part"


def faults_of_deciding(code: str, known: dict[str, str], writers: set[str], where: str) -> Iterator[str]:
    for command in lua.commands(code, known):
        yield f"line {command.line}{where}: {command.name} in the decide part"
    for call in re.finditer(r"(return )?\b(\w+)\(", lua.without_comments(code)):
        if call[2] in writers and not call[1]:
            yield f"{call[2]} writes, so nothing may follow it: `return {call[2]}(...)`"


def faults_of_writing(code: str, known: dict[str, str], recorded: bool, where: str) -> Iterator[str]:
    writes = [*lua.commands(code, known)]
    for command in writes:
        if command.name not in lua.WRITES:
            yield f"line {command.line}{where}: {command.name} after the first write"
    if not writes:
        return
    first = writes[0]
    if recorded and first.name != "XADD":
        yield f"line {first.line}{where}: the first write is {first.name}, not the XADD of the record"
    # `if failed then return { failed } end` stays allowed: an XADD that is fenced, or finds no room, wrote nothing.
    for way_out in re.findall(r"\breturn\b.*|\berror\s*\(.*|\berror_reply\b.*", lua.without_comments(code)):
        if not way_out.startswith("return") or REFUSALS & set(re.findall(r"'(\w+)'", way_out)):
            yield f"line {first.line}{where}: refused after the first write: {way_out}"


def faults_anywhere(source: str, path: str) -> Iterator[str]:
    """What is wrong in a script or a part of one."""
    bounded = {number for number, line in enumerate(source.splitlines(), 1) if "-- bounded:" in line}
    for number, line in enumerate(lua.without_comments(source).splitlines(), 1):
        for pattern, why in FORBIDDEN.items():
            if path != AMOUNT and number not in bounded and re.search(pattern, line):
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


def test_every_name_is_declared() -> None:
    assert lua.undeclared(LIBRARY_OF_ALL.text) == set()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("local function f(a, b)\n  return a + b + c\nend", {"c"}),
        ("local f\nfunction f(a) return g(a.h, { k = 1 }) end", {"g"}),
        ("for i, one in ipairs(all) do two(one, 'three') end -- four", {"all", "two"}),
        ("local a, b = c, 0xdc", {"c"}),
    ],
)
def test_names_that_stand_for_nothing(source: str, names: set[str]) -> None:
    assert lua.undeclared(source) == names


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
WRITER = """\
local function put()
  -- write
  append(KEYS[2], 0)
  return {'done'}
end

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
        (changed("-- decide\n", ""), "the marked parts are"),
        (changed("lib/record", "lib/other"), "lib/other, which is not there"),
        (changed("local amount =", "redis.call('SET', KEYS[1], 0)\nlocal amount ="), "SET in the decide part"),
        (changed("-- decide", "redis.call('DEL', KEYS[1])\n-- decide"), "DEL in the read part"),
        (changed("return {'done'}", "return redis.call('GET', KEYS[1])"), "GET after the first write"),
        (changed("return a + b", "return redis.call('GET', KEYS[1])"), "GET in the decide part"),
        (changed("append(KEYS[2], amount)\n", ""), "the first write is SET"),
        (changed("append(KEYS[2], amount)", "local failed = append(1)\nif failed then return { failed } end"), ""),
        (
            changed("-- decide\n", "-- decide\nif not packed then\n  -- write\n  append(1)\n  return {'done'}\nend\n"),
            "",
        ),
        (changed("local function plus", f"{WRITER}local function plus"), ""),
        (changed("-- decide\n", "-- decide\nput()\n").replace("-- read", f"{WRITER}-- read"), "nothing may follow"),
        (changed("   -- last", "\nif amount then return {'unknown'} end"), "refused after the first write"),
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
