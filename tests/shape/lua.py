"""Enough of Lua to hold our scripts to their form: top-level functions, and which redis commands run in which order.

A function starts and ends in the first column, as in all our scripts. Order is the order of the text; a call of one of
our own functions counts as the commands inside it.
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
EVENT = re.compile(r"""redis\.p?call\(\s*(?:(['"])(?P<command>\w+)\1)?|(?P<call>[\w.]+)\s*\(""")


@dataclass(frozen=True)
class Command:
    name: str  # "?" when it is not a literal
    line: int


def without_comments(source: str) -> str:
    """Same lines, comments blanked; `--` inside a string is taken for one too, which our scripts have no need of."""
    return re.sub(r"--.*", "", re.sub(r"--\[\[.*?\]\]", lambda m: "\n" * m[0].count("\n"), source, flags=re.S))


def header(source: str) -> list[str]:
    """The comment lines before the first line of code."""
    lines = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def uses(source: str) -> list[str]:
    return re.findall(r"^-- @use (\S+)", source, re.M)


def functions(source: str) -> dict[str, str]:
    code = without_comments(source)
    found = {match[1]: match[0] for match in ONE_LINE_FUNCTION.finditer(code)}
    rest = ONE_LINE_FUNCTION.sub("", code)
    return found | {match[1] or match[2]: match[0] for match in FUNCTION.finditer(rest)}


def parts(source: str) -> dict[str, tuple[int, str]]:
    """First line and text of each marked part, functions left out; only what is marked."""
    blanked = re.sub(FUNCTION, lambda m: "\n" * m[0].count("\n"), ONE_LINE_FUNCTION.sub("", source))
    marks = [*re.finditer(rf"^-- ({'|'.join(PARTS)})\b.*$", blanked, re.M)]
    ends = [mark.start() for mark in marks[1:]] + [len(blanked)]
    return {
        mark[1]: (blanked.count("\n", 0, mark.end()) + 1, without_comments(blanked[mark.end() : end]))
        for mark, end in zip(marks, ends, strict=True)
    }


def commands(code: str, first_line: int, known: dict[str, str], above: tuple[str, ...] = ()) -> Iterator[Command]:
    """The redis commands of `code` in order; one inside a function is placed on the line of its call."""
    for event in EVENT.finditer(code):
        line = first_line + code.count("\n", 0, event.start())
        called = event["call"]
        if called is None:
            yield Command((event["command"] or "?").upper(), line)
        elif called in known and called not in above:
            body = known[called].split("(", 1)[1]
            yield from (Command(inner.name, line) for inner in commands(body, line, known, (*above, called)))
