"""Enough of Lua to hold our scripts to their form: top-level functions, and which redis commands run in which order.

A function starts and ends in the first column, and blocks are indented, as in all our scripts. Order is the order of
the text; a call of one of our own functions counts as the commands inside it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PARTS = ("read", "decide", "write")

READS = frozenset(
    """EXISTS GET GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HSTRLEN HVALS LINDEX LLEN LRANGE MGET PTTL SCARD
    SISMEMBER SMEMBERS SMISMEMBER STRLEN TYPE XINFO XLEN XRANGE XREVRANGE ZCARD ZCOUNT ZMSCORE ZRANGE ZRANGEBYSCORE
    ZREVRANGE ZSCORE""".split()
)
WRITES = frozenset(
    """DEL HDEL HINCRBY HSET INCRBY LPUSH LTRIM PERSIST PEXPIRE PEXPIREAT RPUSH SADD SET SREM UNLINK XADD XDEL XTRIM
    ZADD ZREM ZREMRANGEBYSCORE""".split()
)

FUNCTION = re.compile(
    r"^(?:local )?function ([\w.]+)\s*\(.*?^end\b|^local ([\w.]+)\s*=\s*function\s*\(.*?^end\b", re.M | re.S
)
ONE_LINE_FUNCTION = re.compile(r"^(?:local )?function ([\w.]+)\s*\(.*\bend\s*$", re.M)
MARK = re.compile(rf"-- ({'|'.join(PARTS)})\b")
EVENT = re.compile(r"""redis\.p?call\(\s*(?:(['"])(?P<command>\w+)\1)?|(?P<call>[\w.]+)\s*\(""")


@dataclass(frozen=True)
class LuaCommand:
    name: str  # "?" when it is not a literal
    line: int


def without_comments(source: str) -> str:
    """Same lines, comments blanked; `--` inside a string is taken for one too, which our scripts have no need of."""
    return re.sub(r"--.*", "", re.sub(r"--\[\[.*?\]\]", lambda m: "\n" * m[0].count("\n"), source, flags=re.S))


def header(source: str) -> list[str]:
    """The comment lines before the first line of code; `#!lua flags=...` may stand above them."""
    lines = []
    for line in re.sub(r"^#!.*\n", "", source).splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def uses(source: str) -> list[str]:
    return re.findall(r"^-- @use (\S+)", source, re.M)


def with_library(source: str, library: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """Every function a script can call, also through parts of parts; and the parts that are not there."""
    known, missing, seen, left = functions(source), set[str](), set[str](), uses(source)
    while left:
        part = left.pop()
        if part in seen:
            continue
        seen.add(part)
        if part not in library:
            missing.add(part)
            continue
        known |= functions(library[part])
        left += uses(library[part])
    return known, missing


def functions(source: str) -> dict[str, str]:
    """The text of each top-level function by name, with its comments."""
    found = {match[1]: match[0] for match in ONE_LINE_FUNCTION.finditer(source)}
    rest = ONE_LINE_FUNCTION.sub("", source)
    return found | {match[1] or match[2]: match[0] for match in FUNCTION.finditer(rest)}


def main(source: str) -> str:
    """The script without its top-level functions; same lines."""
    return FUNCTION.sub(lambda m: "\n" * m[0].count("\n"), ONE_LINE_FUNCTION.sub("", source))


def part_lines(code: str) -> dict[str, range]:
    """The lines, counted from 0, of each part marked in the first column."""
    lines = code.splitlines()
    marks = [(number, line) for number, line in enumerate(lines) if MARK.match(line)]
    ends = [number for number, _ in marks[1:]] + [len(lines)]
    return {line.split()[1]: range(number + 1, end) for (number, line), end in zip(marks, ends, strict=True)}


def write_blocks(code: str) -> list[range]:
    """The lines from each `-- write`, at any depth, to where its block ends: a line that stands further left."""
    lines, found = code.splitlines(), []
    for number, line in enumerate(lines):
        if re.match(r"\s*-- write\b", line):
            depth = indent(line)
            below = range(number + 1, len(lines))
            ends = (at for at in below if lines[at].strip() and indent(lines[at]) < depth)
            found.append(range(below.start, next(ends, below.stop)))
    return found


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def only(code: str, wanted: set[int]) -> str:
    """`code` with every other line blanked, so that line numbers stay true."""
    return "\n".join(line if number in wanted else "" for number, line in enumerate(code.splitlines()))


def commands(
    code: str, known: dict[str, str], first_line: int = 1, above: tuple[str, ...] = ()
) -> Iterator[LuaCommand]:
    """The redis commands of `code` in order; one inside a function of `known` is placed on the line of its call."""
    code = without_comments(code)
    for event in EVENT.finditer(code):
        line = first_line + code.count("\n", 0, event.start())
        called = event["call"]
        if called is None:
            yield LuaCommand((event["command"] or "?").upper(), line)
        elif called in known and called not in above:
            body = known[called].split("(", 1)[1]
            yield from (LuaCommand(inner.name, line) for inner in commands(body, known, line, (*above, called)))


BUILT_IN = frozenset(
    """and bit break cmsgpack do else elseif end error false for function if in ipairs local math next nil not or pairs
    redis repeat return string table then true type unpack until while""".split()
)
STRING = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
NAMES = r"[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*"
DECLARED = re.compile(
    rf"\blocal (?!function\b)({NAMES})|\bfunction\b\s*([\w.]*)\s*\(([\w\s,.]*)\)|\bfor ({NAMES})\s+(?:in|=)"
)
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
FIELD = re.compile(r"[{,]\s*[A-Za-z_]\w*\s*=(?!=)")


def undeclared(source: str) -> set[str]:
    """Names that are neither declared anywhere in the text, whatever the scope, nor built in. Lua notices only when it
    comes there."""
    code = STRING.sub("''", without_comments(re.sub(r"^#!.*\n", "", source)))
    names = {name for found in DECLARED.finditer(code) for part in found.groups() for name in NAME.findall(part or "")}
    fields = {NAME.findall(found[0])[0] for found in FIELD.finditer(code)}
    return set(NAME.findall(re.sub(r"\b0x\w+", "0", code))) - names - fields - BUILT_IN
