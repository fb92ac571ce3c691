"""What a piece of recorded use would be priced by, if one tariff stood in the place of another. Pure.

A usage record says by its tag which tariffs priced it: "data@3+april@1:row" is version 3 of `data` as version 1 of the
promotion `april` changed it. `Prices` finds what stands in their place, and remembers what it has found.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tariffs.build_ladder import find
from tariffs.catalog import Exchanges
from tariffs.draft import RatingVerdict
from tariffs.inputs import Inputs
from tariffs.ladder import Count, Ladder
from tariffs.tariff import Rated, Tariff
from tariffs.terms import CurrencyExchange
from tariffs.units import Kind

REMEMBERED_MAX: Final = 200_000
"""Of each kind; then it is forgotten, and found again."""

PRICED: Final = 0
REFUSED: Final = 1
"""Not sold, or no price for it."""
NOT_CONTROLLED: Final = 2
"""Used freely: it costs nothing."""
UNKNOWN: Final = 3
"""It cannot be said."""

Version = tuple[str, int]
"""A tariff's id and version."""

_encode: Final = msgspec.msgpack.Encoder().encode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode
_inputs: Final = msgspec.json.Decoder(Inputs).decode


class Known:
    """A ladder, with values derived from it that are needed again and again."""

    __slots__ = ("asks", "counts", "ladder", "plain", "untils", "windows")

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        # What it costs: not who made it, nor what the store is told of caps.
        counts = tuple(msgspec.structs.replace(count, cap=False) for count in ladder.counts)
        self.plain = _encode(msgspec.structs.replace(ladder, tag="", counts=counts))
        """Two ladders with the same octets here price alike, whichever tariffs they are of."""
        self.counts: tuple[Count, ...] = ladder.counts
        self.asks = tuple(dict.fromkeys(step.counter for step in ladder.steps if step.counter))
        """Counters its steps depend on."""
        self.windows = frozenset(count.key for count in ladder.counts if count.window_ms)
        """Counters that begin with their first use."""
        self.untils = frozenset(step.until_ms for step in ladder.steps if step.until_ms)
        """Instants at which its price changes."""


class Ladders:
    """Recorded ladders by their hash."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def missing(self, hashes: Iterable[bytes | None]) -> list[bytes]:
        if len(self._known) > REMEMBERED_MAX:
            self._known.clear()
        known = self._known
        return [one for one in dict.fromkeys(hashes) if one is not None and one not in known]

    def add(self, key: bytes, packed: bytes) -> None:
        try:
            self._known[key] = Known(_ladder(packed))
        except msgspec.MsgspecError:
            pass  # of a newer version of ours: as one that is not there

    def get(self, key: bytes | None) -> Known | None:
        return None if key is None else self._known.get(key)


class Priced(NamedTuple):
    """What a line would be priced by."""

    how: int
    why: str = ""
    """That it is not priced."""
    unit: Kind | None = None
    """What the line counts in; None: whatever its service counts in."""
    known: Known | None = None
    """Where it is priced."""
    change_ms: int = 0
    """The price of volume changes then; 0: it does not."""
    cut_ms: int = 0
    """Use by time is priced by another ladder from then on; 0: by this one."""


Pair = tuple[Priced, Priced]
"""Of the line, and of what is charged beside it."""

UNREADABLE: Final = Priced(UNKNOWN, "what rating looked at cannot be read")
NOT_STORED: Final = Priced(UNKNOWN, "a tariff that priced it is not stored")
NOT_IN_FORCE: Final = Priced(REFUSED, "no version of the tariff is in force")
NO_ROW: Final = Priced(REFUSED, "no row of the tariff matches")
NOTHING_BESIDE: Final = Priced(NOT_CONTROLLED)


def pair_of(rated: Rated | None) -> Pair:
    main = _priced(rated)
    if rated is None or main.how != PRICED:
        return main, main
    return main, _priced(rated.beside) if rated.beside is not None else NOTHING_BESIDE


def _priced(rated: Rated | None) -> Priced:
    if rated is None or rated.verdict is RatingVerdict.NOT_YET:
        return NO_ROW
    match rated.verdict:
        case RatingVerdict.PRICED if rated.ladder is not None:
            return Priced(PRICED, "", rated.unit, Known(rated.ladder), rated.change_ms, rated.cut_ms)
        case RatingVerdict.NOT_APPLICABLE:
            return Priced(NOT_CONTROLLED)
        case RatingVerdict.DENIED:
            return Priced(REFUSED, "barred")
    return Priced(REFUSED, rated.why or "rating fails")


class PriceList:
    """One tariff as some promotions change it, in all versions that may be in force."""

    def __init__(
        self,
        versions: Sequence[Tariff],
        promotions: tuple[Tariff, ...],
        exchanges: Exchanges,
        default_groups: Mapping[str, int],
    ) -> None:
        """
        versions:        the newest first, each from its `from_ms` on; one alone is in force always
        default_groups:  rating group of a line that names none, by service
        """
        changed = [tariff.changed_by(promotions) if promotions else tariff for tariff in versions]
        self._versions = [(tariff.from_ms if len(changed) > 1 else 0, tariff) for tariff in changed]
        self._exchanges, self._default_groups = exchanges, default_groups
        self._pairs: dict[tuple[object, ...], Pair] = {}
        self._alike: dict[tuple[object, ...], Pair] = {}
        self._inputs: dict[str, Inputs | None] = {}
        self._stretches: dict[tuple[Tariff, tuple[str, str]], list[tuple[int, int]]] = {}

    def price(self, currency: str, group: int, service_id: int, inputs: str | None, at_ms: int) -> Pair:
        """Of a line whose ladder is made at this instant.

        currency:  of the account
        group, service_id:  -1 for none
        inputs:    as they stand on the usage record: JSON
        """
        tariff = self._in_force(at_ms)
        if tariff is None:
            return NOT_IN_FORCE, NOT_IN_FORCE
        since_ms = self._since_ms(tariff, inputs, at_ms) if tariff.moves else 0
        exchange = None if tariff.currency == currency else self._exchanges.at(tariff.currency, currency, at_ms)
        key = (tariff, since_ms, exchange, currency, group, service_id, inputs)
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= REMEMBERED_MAX:
                self._pairs.clear()
            pair = self._like(tariff, since_ms, exchange, currency, group, service_id, inputs, at_ms)
            self._pairs[key] = pair
        return pair

    def _like(
        self,
        tariff: Tariff,
        since_ms: int,
        exchange: CurrencyExchange | None,
        currency: str,
        group: int,
        service_id: int,
        inputs: str | None,
        at_ms: int,
    ) -> Pair:
        """Of a line whose like may be known: what the tariff looks at is the same (build_ladder.find, without its
        clock)."""
        read = self._read(inputs)
        if read is None:
            return UNREADABLE, UNREADABLE
        looks = tariff.look(read) if tariff.look else None
        key = (tariff, since_ms, exchange, currency, group, service_id, read.service, looks)
        pair = self._alike.get(key)
        if pair is None:
            if len(self._alike) >= REMEMBERED_MAX:
                self._alike.clear()
            pair = self._alike[key] = self._find(tariff, exchange, currency, group, service_id, inputs, at_ms)
        return pair

    def price_late(
        self, currency: str, group: int, service_id: int, inputs: str | None, at_ms: int, since_ms: int
    ) -> Pair:
        """Of use that had no ladder of its own when it was reported, at `at_ms`: of time, since its begin."""
        pair = self.price(currency, group, service_id, inputs, at_ms)
        tariff = self._in_force(since_ms)
        if all(one.unit != Kind.SECONDS for one in pair) or since_ms >= at_ms or tariff is None:
            return pair
        exchange = None if tariff.currency == currency else self._exchanges.at(tariff.currency, currency, since_ms)
        began = self._find(tariff, exchange, currency, group, service_id, inputs, since_ms)
        return began if pair[0].unit == Kind.SECONDS else (pair[0], began[1])

    def another_ms(self, at_ms: int) -> int:
        """When another version will be in force; 0: never."""
        return min((from_ms for from_ms, _ in self._versions if from_ms > at_ms), default=0)

    def _in_force(self, at_ms: int) -> Tariff | None:
        for from_ms, tariff in self._versions:
            if from_ms <= at_ms:
                return tariff
        return None

    def _read(self, inputs: str | None) -> Inputs | None:
        if inputs is None:
            return None
        try:
            return self._inputs[inputs]
        except KeyError:
            pass
        if len(self._inputs) >= REMEMBERED_MAX:
            self._inputs.clear()
        try:
            read = _inputs(inputs)
        except (msgspec.MsgspecError, ValueError):
            read = None
        self._inputs[inputs] = read
        return read

    def _find(
        self,
        tariff: Tariff,
        exchange: CurrencyExchange | None,
        currency: str,
        group: int,
        service_id: int,
        inputs: str | None,
        at_ms: int,
    ) -> Pair:
        read = self._read(inputs)
        if read is None:
            return UNREADABLE, UNREADABLE
        named = (None if group < 0 else group), (None if service_id < 0 else service_id)
        if named == (None, None):
            named = self._default_groups.get(read.service), None
        pair = pair_of(find(tariff, *named, read, at_ms, exchange))
        if pair[0].how == PRICED and exchange is None and tariff.currency != currency:
            none = Priced(REFUSED, f"no exchange rate from {tariff.currency} into {currency}")
            return none, none
        return pair

    def _since_ms(self, tariff: Tariff, inputs: str | None, at_ms: int) -> int:
        """Since when nothing that the clock decides was any different. History jumps to and fro in time, from one
        account to the next, so all stretches are remembered and not the last one alone (Tariff.since_ms)."""
        read = self._read(inputs)
        if read is None:
            return 0
        stretches = self._stretches.setdefault((tariff, tariff.clocks(read)), [])
        place = bisect_right(stretches, (at_ms, at_ms)) - 1
        for from_ms, until_ms in stretches[max(place, 0) : place + 2]:
            if from_ms <= at_ms and (at_ms < until_ms or not until_ms):
                return from_ms
        from_ms, until_ms = tariff.stretch(read, at_ms)
        if len(stretches) >= REMEMBERED_MAX:
            stretches.clear()
        insort(stretches, (from_ms, until_ms))
        return from_ms


class Prices:
    """Which tariff takes the place of which."""

    def __init__(
        self,
        places: Mapping[str, Sequence[Tariff]],
        stored: Mapping[Version, Tariff],
        exchanges: Exchanges,
        default_groups: Mapping[str, int],
    ) -> None:
        """
        places:  id of a tariff or a promotion -> what stands in its place: one version, in force always, or several,
                 the newest first
        stored:  the versions that tags name besides; may grow
        """
        self._places, self._stored, self._exchanges, self._groups = places, stored, exchanges, default_groups
        self._by_tag: dict[str, PriceList | None] = {}
        self._by_head: dict[str, PriceList | None] = {}

    def needs(self, tag: str) -> list[Version]:
        """Versions it takes to price what this tag names; of those stored, or not stored yet."""
        if tag in self._by_tag:
            return []
        named = [*versions_of(tag)]
        if not any(name in self._places for name, _ in named):
            return []
        return [one for one in named if one[0] not in self._places]

    def of(self, tag: str) -> PriceList | None:
        """What prices in the place of the tariffs of this tag; None: nothing else does. KeyError: a version that it
        needs is not stored."""
        try:
            return self._by_tag[tag]
        except KeyError:
            pass
        if len(self._by_tag) >= REMEMBERED_MAX:
            self._by_tag.clear()
        head = tag.partition(":")[0]
        if head not in self._by_head:
            self._by_head[head] = self._list(tag)
        self._by_tag[tag] = found = self._by_head[head]
        return found

    def _list(self, tag: str) -> PriceList | None:
        named = [*versions_of(tag)]
        if not any(name in self._places for name, _ in named):
            return None
        main, *promotions = named
        versions = self._places.get(main[0]) or (self._stored[main],)
        changes = [(self._places.get(one[0]) or (self._stored[one],))[0] for one in promotions]
        return PriceList(versions, tuple(changes), self._exchanges, self._groups)


def versions_of(tag: str) -> Iterator[Version]:
    """Of "data@3+april@1:row" ("data", 3) and ("april", 1); none of a tag that names no tariff."""
    head, _, _ = tag.partition(":")
    for part in head.split("+"):
        name, _, version = part.rpartition("@")
        if name and version.isdecimal():
            yield name, int(version)
