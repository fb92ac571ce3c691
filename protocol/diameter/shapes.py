"""How a judged message becomes an object, and how the next one of the same shape is judged without a walk.

Gateways send the same few kinds of message over and over: the same AVPs in the same places, only numbers and letters
differ. `walk.py` therefore leaves two things behind for each message it accepted:

  plan       where every field lies and what becomes of it
  skeleton   the octets its verdict depended on: headers of message and AVPs, closed enumerations, application ids,
             and the top bit of text octets (all clear = ASCII, hence legal UTF-8)

A frame whose octets under the mask equal the skeleton would be walked the same way to the same verdict. One AND and one
compare of big integers say so: 1 us for 460 octets, where the walk takes 90.
"""

from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from typing import Any

Pick = Callable[[list[Any]], tuple[Any, ...]]
Make = tuple[type | None, tuple[str, ...], Pick]  # class, field names, values; no class makes a plain tuple

new: Callable[[type], Any] = object.__new__

MAX_SHAPES = 1024  # in each of two generations of a command, about 8 kB each
MAX_ALIKE = 8  # shapes that agree in length, command and first AVP
MAX_OCTETS = 4096  # longer messages are rare and always walked


def picker(slots: list[int]) -> Pick:
    """Like itemgetter, but always a tuple."""
    if not slots:
        return lambda values: ()
    if len(slots) == 1:
        only = slots[0]
        return lambda values: (values[only],)
    return itemgetter(*slots)


class DecodePlan:
    """The recipe for one object: unpack every value in one go, convert some, then assemble groups inside out.

    Values are numbered: first those of the struct, then the lazy groups, then what each step makes.
    """

    __slots__ = ("converts", "lazies", "names", "pick", "steps", "unpack")

    def __init__(
        self,
        layout: str,
        converts: list[tuple[int, Callable[[Any], Any]]],
        lazies: "list[tuple[type, DecodePlan]]",
        steps: list[Make],
        names: tuple[str, ...],
        pick: Pick,
    ) -> None:
        self.unpack = Struct(layout).unpack_from
        self.converts, self.lazies, self.steps = converts, lazies, steps
        self.names, self.pick = names, pick

    def fill(self, target: Any, frame: bytes) -> None:
        """Give the target the fields this frame has for it. The zips are not strict: names and picked values are two
        columns of one dict of `PlanDraft`, and asking again costs a fifth of the time."""
        values: list[Any] = list(self.unpack(frame))
        for slot, convert in self.converts:
            values[slot] = convert(values[slot])
        for cls, plan in self.lazies:
            group = new(cls)
            group.__dict__["unread"] = (frame, plan)
            values.append(group)
        for made, names, pick in self.steps:
            if made is None:
                values.append(pick(values))
            else:
                group = new(made)
                group.__dict__.update(zip(names, pick(values)))  # noqa: B905
                values.append(group)
        target.__dict__.update(zip(self.names, self.pick(values)))  # noqa: B905


class PlanDraft:
    """A DecodePlan being written, in the order of the frame. References count from 0 for struct values, from -1
    downwards for what is assembled, because the number of the former is known only at the end."""

    def __init__(self) -> None:
        self.layout, self.at, self.slots = [">"], 0, 0
        self.converts: list[tuple[int, Callable[[Any], Any]]] = []
        self.lazies: list[tuple[type, DecodePlan]] = []
        self.steps: list[tuple[type | None, tuple[str, ...], list[int]]] = []

    def value(self, start: int, size: int, form: str, convert: Callable[[Any], Any] | None) -> int:
        """A value of the struct; form "" is octets."""
        self.layout.append(f"{start - self.at}x{form or f'{size}s'}")
        self.at = start + size
        if convert is not None:
            self.converts.append((self.slots, convert))
        self.slots += 1
        return self.slots - 1

    def lazy(self, cls: type, plan: DecodePlan) -> int:
        self.lazies.append((cls, plan))
        return -2 * len(self.lazies)  # even: lazy groups; odd: steps

    def step(self, made: type | None, fields: dict[str, int]) -> int:
        self.steps.append((made, tuple(fields), list(fields.values())))
        return 1 - 2 * len(self.steps)

    def plan(self, fields: dict[str, int]) -> DecodePlan:
        first, steps = self.slots, self.slots + len(self.lazies)

        def final(reference: int) -> int:
            if reference >= 0:
                return reference
            return first - reference // 2 - 1 if reference % 2 == 0 else steps + (-1 - reference) // 2

        made: list[Make] = [(cls, names, picker([final(r) for r in refs])) for cls, names, refs in self.steps]
        picked = picker([final(r) for r in fields.values()])
        return DecodePlan("".join(self.layout), self.converts, self.lazies, made, tuple(fields), picked)


Key = tuple[int, bytes, bytes]  # length, flags to application, header of the first AVP
Shape = tuple[int, int, DecodePlan]  # mask, skeleton


class Shapes:
    """The shapes of one command seen lately. Bounded, and only a memory: forgetting costs time, nothing else.

    Two generations: what is asked for moves to the young one; when that is full, the old one is forgotten.
    """

    __slots__ = ("_count", "_old", "_young")

    def __init__(self) -> None:
        self._young: dict[Key, list[Shape]] = {}
        self._old: dict[Key, list[Shape]] = {}
        self._count = 0

    def find(self, frame: bytes) -> DecodePlan | None:
        # The length is compared here: as integers, a longer frame with the same end would look the same.
        key = (len(frame), frame[4:12], frame[20:28])
        number = 0
        for generation in self._young, self._old:
            if key in generation:
                number = number or int.from_bytes(frame, "big")
                for shape in generation[key]:
                    if number & shape[0] == shape[1]:
                        if generation is self._old:
                            self._keep(key, shape)
                        return shape[2]
        return None

    def learn(self, frame: bytes, mask: bytes, plan: DecodePlan) -> None:
        if len(frame) <= MAX_OCTETS:
            bits = int.from_bytes(mask, "big")
            key = (len(frame), frame[4:12], frame[20:28])
            self._keep(key, (bits, int.from_bytes(frame, "big") & bits, plan))

    def _keep(self, key: Key, shape: Shape) -> None:
        if self._count >= MAX_SHAPES:
            self._old, self._young, self._count = self._young, {}, 0
        alike = self._young.setdefault(key, [])
        alike.insert(0, shape)
        self._count += 1
        if len(alike) > MAX_ALIKE:
            alike.pop()
            self._count -= 1
