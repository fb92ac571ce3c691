"""Values of facts, as far as the conditions of a tariff tell them apart.

Conditions cut the values of a fact into atoms: each value that is named, all others that begin like a named prefix, all
others, none at all. A condition is then a set of bits. What is asked of one number (the number itself, its zones in
several tables) is cut together: no number is in the own network of one table and abroad in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from tariffs.destinations import WHOLE, DestinationRow, Numbers, PrefixTable
from tariffs.match import ENDS, LINE_FIELDS, Condition

NAMED_MAX: Final = 5
"""Values named in a sentence."""

OTHER: Final = "\0"
NO_ENTRY: Final = "no entry"
NUMERIC: Final = {
    "rating_group": 2**32 - 1,
    "service_id": 2**32 - 1,
    "rat_type": 255,
    "role": 3,
    "port_type": 2**32 - 1,
}
"""Facts that are numbers, and the largest there is (RFC 8506, TS 29.061, TS 32.299)."""

_DASHED: Final = re.compile(r"\d{3}-\d{1,3}\*?", re.ASCII)
_SCHEMES: Final = ("+", "sip:", "sips:", "tel:")
_LOWER: Final = frozenset({"apn", "called", "calling", "charging_characteristics", "user_time_zone"})


def impossible(fact: str, value: Any, numbers: Numbers | None) -> str:
    """Why no line ever has this value, and what may have been meant; "" where one may."""
    if isinstance(value, int):
        most = NUMERIC.get(fact)
        return f"it is a number from 0 to {most}" if most is not None and not 0 <= value <= most else ""
    if value is None or fact in LINE_FIELDS:
        return ""
    text = value.removesuffix("*")
    if fact in _LOWER and text != text.lower():
        return f"it is compared in lower case; meant {value.lower()!r}?"
    if fact == "visited" and _DASHED.fullmatch(value):
        return f"MCC and MNC follow each other without a dash; meant {value.replace('-', '')!r}?"
    if fact in ENDS.values():
        for scheme in _SCHEMES:
            if text.startswith(scheme):
                return f"numbers and addresses come without {scheme!r}; meant {value.removeprefix(scheme)!r}?"
        # No country code begins with 0, so in the form of E.164 no number does.
        if numbers is not None and text.isascii() and text.isdigit() and text.startswith("0"):
            normal, _ = numbers.normal(text)
            if normal != text:
                meant = normal + ("*" if value.endswith("*") else "")
                return f"numbers are in the form of E.164 here; meant {meant!r}?"
    return ""


class Dimension:
    """The atoms of one fact, or of several that are asked of one number."""

    __slots__ = ("_masks", "facts", "full", "keys", "samples")

    def __init__(self, facts: Sequence[str], atoms: Mapping[tuple[Any, ...], tuple[Any, ...]]) -> None:
        """
        atoms:  what conditions on each fact are asked about (a value, a zone, None; with "\\0" at its end, all that
                begin so) -> a value of each fact
        """
        self.facts, self.keys, self.samples = tuple(facts), list(atoms), list(atoms.values())
        self.full = (1 << len(self.keys)) - 1
        self._masks: dict[str, dict[Any, int]] = {}
        for place, fact in enumerate(self.facts):
            masks = self._masks[fact] = dict[Any, int]()
            for bit, key in enumerate(self.keys):
                masks[key[place]] = masks.get(key[place], 0) | 1 << bit

    def mask(self, condition: Condition) -> int:
        """The atoms for which it holds."""
        masks, mask = self._masks[condition.fact], 0
        for value in condition.exact:
            mask |= masks.get(value, 0)
        if condition.prefixes:
            for key, bits in masks.items():
                if isinstance(key, str) and key and key.startswith(condition.prefixes):
                    mask |= bits
        return self.full & ~mask if condition.excludes else mask

    def unknown(self, fact: str) -> int:
        """The atoms at which nothing is known of it."""
        return self._masks[fact].get(None, 0) | self._masks[fact].get("", 0)

    def parts(self, mask: int) -> Iterator[tuple[str, list[Any], list[Any]]]:
        """(fact, what it may be, what it may not be) of each."""
        for place, fact in enumerate(self.facts):
            if len(self.facts) == 1:
                yield (
                    fact,
                    [self.keys[bit][place] for bit in _bits(mask)],
                    [self.keys[bit][place] for bit in _bits(self.full & ~mask)],
                )
                continue
            masks = self._masks[fact]
            yield fact, [key for key in masks if masks[key] & mask], [key for key in masks if not masks[key] & mask]

    def describe(self, mask: int) -> str:
        """ "apn internet or ims*", "rating_group other than 10"."""
        said = []
        for fact, there, missing in self.parts(mask):
            if missing and (OTHER in there or len(missing) * 2 < len(there) + len(missing) > NAMED_MAX):
                said.append(f"{fact} other than {listed(names(fact, missing), 'and')}")
            elif missing and there == [None] and " " in fact:
                said.append(f"{NO_ENTRY} in {fact.partition(' ')[2]}")
            elif missing:
                said.append(f"{fact} {listed(names(fact, there), 'or')}")
        return ", ".join(said)

    def plainest(self, mask: int) -> int:
        """The first of its atoms."""
        return (mask & -mask).bit_length() - 1


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


def names(fact: str, keys: Iterable[Any]) -> list[str]:
    """In words, but what no condition names."""
    none = NO_ENTRY if " " in fact else "none"
    return [none if key is None else named(key) for key in keys if key != OTHER]


def named(key: Any) -> str:
    if key == "":
        return "none"
    return f"{key[:-1]}*" if isinstance(key, str) and key.endswith(OTHER) else str(key)


def listed(names: Sequence[str], last: str = "and", limit: int = NAMED_MAX) -> str:
    """ "a, b and c"; no more than can be read."""
    if len(names) > limit + 1:
        names = [*names[:limit], f"{len(names) - limit:,} more"]
        last = "and"
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


# --- which atoms there are


def dimensions(
    by_fact: Mapping[str, Sequence[Condition]],
    tables: Mapping[str, PrefixTable],
    unused: Mapping[str, set[str]],
    numbers: Numbers | None,
) -> Iterator[Dimension]:
    """Of all facts; numbers and their zones last.

    unused:  prefixes of each table that no longer number uses
    """
    ends = {field: end for end, field in ENDS.items()}
    groups: dict[str, list[str]] = {}
    for fact in sorted(by_fact, key=lambda fact: (" " in fact, fact)):
        groups.setdefault(ends.get(fact, fact.partition(" ")[0] if " " in fact else fact), []).append(fact)
    for end, facts in sorted(groups.items(), key=lambda group: (" " in group[1][-1], group[0])):
        if len(facts) > 1:
            yield _number(end, facts, by_fact.get(ENDS[end], ()), tables, numbers)
        elif " " in facts[0]:
            name = facts[0].partition(" ")[2]
            yield _zones(facts[0], tables[name].entries(), unused[name], numbers)
        else:
            yield Dimension(facts, {(key,): (sample,) for key, sample in _values(facts[0], by_fact[facts[0]], numbers)})


def _values(fact: str, conditions: Iterable[Condition], numbers: Numbers | None) -> list[tuple[Any, Any]]:
    """Atoms of a fact that is a text or a number, each with a value."""
    exact = {value for condition in conditions for value in condition.exact if not impossible(fact, value, numbers)}
    prefixes = {text for one in conditions for text in one.prefixes if text and not impossible(fact, text, numbers)}
    if fact in NUMERIC:
        spare = next(number for number in range(len(exact) + 1) if number not in exact)
        return [(None, None), *((number, number) for number in sorted(exact - {None})), (OTHER, spare)]
    texts = ["", *sorted(exact - {""}), *(text + OTHER for text in sorted(prefixes)), OTHER]
    return [(text, text) for text in texts]


def _zones(fact: str, entries: Iterable[DestinationRow], unused: set[str], numbers: Numbers | None) -> Dimension:
    """Zones of one table, each with its first entry, and none where that may be: of short codes, whatever is there for
    the rest of numbers."""
    atoms: dict[tuple[Any, ...], tuple[Any, ...]] = {(None,): (None,)}
    rest = False
    for entry in entries:
        if entry.prefix not in unused:
            atoms.setdefault((entry.zone,), (entry,))
        rest = rest or not entry.prefix
    if rest and not (numbers is not None and numbers.short):
        del atoms[None,]
    return Dimension([fact], atoms)


def _number(
    end: str,
    facts: Sequence[str],
    conditions: Iterable[Condition],
    tables: Mapping[str, PrefixTable],
    numbers: Numbers | None,
) -> Dimension:
    """What can be said of one number at once. It changes at most where a prefix of a table or a condition ends, so one
    number for each of them is looked up in all tables."""
    finds = [tables[fact.partition(" ")[2]].find if " " in fact else None for fact in facts]
    values = [sample for _, sample in _values(ENDS[end], conditions, numbers)]
    begins = sorted((value for value in values if value.endswith(OTHER)), key=len, reverse=True)
    own = frozenset(values)
    atoms: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def add(number: str, short: bool = False) -> None:
        entries = [find(number, short) if find is not None else None for find in finds]
        text = number if number in own else next(begin for begin in begins if number.startswith(begin[:-1]))
        pairs = list(zip(finds, entries, strict=True))
        key = tuple([text if find is None else entry and entry.zone for find, entry in pairs])
        atoms.setdefault(key, tuple([text if find is None else entry for find, entry in pairs]))

    texts = ["", *(value.removesuffix(OTHER) for value in values), OTHER]
    entries = {
        entry.prefix: entry for name in facts if " " in name for entry in tables[name.partition(" ")[2]].entries()
    }
    skipped = never_used(entries.values()) - own
    texts += [prefix.removeprefix(WHOLE) for prefix in entries if prefix not in skipped]
    for text in dict.fromkeys(texts):
        add(text)
    if numbers is not None and numbers.short:
        for text in dict.fromkeys([*(text for text in texts if 0 < len(text) <= numbers.short), OTHER]):
            add(text, short=True)
    return Dimension(facts, atoms)


def never_used(table: Iterable[DestinationRow]) -> set[str]:
    """Prefixes of which all ten continuations are there, as entries or by their own continuations."""
    handled = {entry.prefix for entry in table if entry.prefix and not entry.prefix.startswith(WHOLE)}
    entries, unused = frozenset(handled), set()
    by_length: dict[int, set[str]] = {}
    for prefix in handled:
        by_length.setdefault(len(prefix), set()).add(prefix)
    for length in range(max(by_length, default=0), 1, -1):
        continuations: dict[str, int] = {}
        for prefix in by_length.get(length, ()):
            continuations[prefix[:-1]] = continuations.get(prefix[:-1], 0) + 1
        for prefix, count in continuations.items():
            if count == 10:
                by_length.setdefault(length - 1, set()).add(prefix)
                if prefix in entries:
                    unused.add(prefix)
    return unused
