"""AVPs and groups: declared once, everything else derives from the declaration.

    CC_TIME = Avp("CC-Time", 420, UNSIGNED32)

    class UsedServiceUnit(Group):
        cc_time: int | None = opt(CC_TIME)

`Avp` is generic in its Python type and `opt(Avp[T])` returns `T | None`, so mypy rejects a member whose annotation and
AVP disagree. `req` is a field specifier, `opt` and `many` are read as defaults: hence a missing required field is
rejected where the object is made.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from keyword import iskeyword
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, dataclass_transform

from protocol.diameter.types import WHOLE, Type

T = TypeVar("T")

VENDOR, MANDATORY = 0x80, 0x40
UNKNOWN_FLAGS = 0x1F  # reserved bits; 0x20 was the P bit of RFC 3588 and is ignored
HEADER = Struct(">II")  # code, flags << 24 | length
PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo four

MAX_WAYS = 256  # combinations of fields remembered per class
MAX_TEXTS = 4096  # encoded identities kept; the set of hosts and realms of a network is small


def wrap(code: int, flags: int, vendor: int, data: bytes) -> bytes:
    """A whole AVP, padded. The vendor is on the wire when the V flag says so."""
    if flags & VENDOR:
        data = vendor.to_bytes(4, "big") + data
    length = len(data) + 8
    return HEADER.pack(code, flags << 24 | length) + data + PADDING[length & 3]


class Avp(Generic[T]):
    """One AVP: its name in the specification, code, data format, vendor (0 = IETF) and whether we send it with M.

    `key` is its identity: the code, with the vendor in the upper half. `field` is the name of a member made of it.
    `pack(value)` gives the whole AVP with header and padding; a number out of range is a struct.error.
    """

    __slots__ = ("code", "field", "flags", "key", "name", "pack", "type", "vendor")

    def __init__(self, name: str, code: int, type: Type[T], *, vendor: int = 0, m: bool = True) -> None:  # noqa: A002
        self.name, self.code, self.type, self.vendor = name, code, type, vendor
        self.key = vendor << 32 | code
        self.flags = (VENDOR if vendor else 0) | (MANDATORY if m else 0)
        field = name.replace("3GPP", "tgpp", 1).replace("-", "_").replace(".", "_").lower()
        self.field = field + "_" if iskeyword(field) else field
        self.pack: Callable[[T], bytes] = _packer(self)

    def __repr__(self) -> str:
        return f"{self.name} ({self.code}{f'/{self.vendor}' if self.vendor else ''})"

    def example(self) -> bytes:
        """The AVP with the least data and zeros in it, for Failed-AVP (RFC 6733 section 7.1.5, 5005)."""
        return wrap(self.code, self.flags, self.vendor, bytes(self.type.least))


def _packer(avp: Avp[T]) -> Callable[[T], bytes]:
    kind, code, flags, vendor = avp.type, avp.code, avp.flags, avp.vendor
    head = vendor.to_bytes(4, "big") if vendor else b""
    if kind.form:
        header = HEADER.pack(code, flags << 24 | 8 + len(head) + kind.size) + head
        number = partial(Struct(f">{len(header)}s{kind.form}").pack, header)
        to_number = kind.encode
        return number if to_number is None else lambda value: number(to_number(value))
    if kind is WHOLE:
        return lambda avps: avps  # type: ignore[return-value]
    if kind.group is not None:
        return lambda group: wrap(code, flags, vendor, group.encode())  # type: ignore[attr-defined]
    to_octets: Callable[[Any], bytes] | None = kind.encode

    # The flags, the low octet of the code's word and the vendor never change: only the length does.
    prefix, fixed, word = code.to_bytes(4, "big"), 8 + len(head), flags << 24

    def text(value: Any) -> bytes:
        data = value if to_octets is None else to_octets(value)
        length = fixed + len(data)
        return b"".join((prefix, (word | length).to_bytes(4, "big"), head, data, PADDING[length & 3]))

    return lru_cache(MAX_TEXTS)(text) if kind.name == "DiameterIdentity" else text


class Member:
    """One line of a group: which AVP, how often, and its default when absent."""

    __slots__ = ("avp", "default", "many", "name", "required", "surplus")

    def __init__(self, avp: Avp[Any], *, required: bool = False, many: bool = False, surplus: bool = False) -> None:
        self.avp, self.name, self.required, self.many, self.surplus = avp, avp.field, required, many, surplus
        self.default: tuple[()] | None = () if many else None

    def pack(self, value: Any) -> bytes:
        return b"".join(map(self.avp.pack, value)) if self.many else self.avp.pack(value)


def req(avp: Avp[T], *, surplus: bool = False) -> T:
    """Exactly once. `surplus`: sent twice by real nodes, the first counts and the others are kept in `others`."""
    return Member(avp, required=True, surplus=surplus)  # type: ignore[return-value]


def opt(avp: Avp[T]) -> T | None:
    """At most once."""
    return Member(avp)  # type: ignore[return-value]


def many(avp: Avp[T]) -> tuple[T, ...]:
    """Any number of times."""
    return Member(avp, many=True)  # type: ignore[return-value]


class MembersSpec:
    """What a class of members amounts to; read by `walk.py` (decoding) and `Members.body` (encoding)."""

    __slots__ = (
        "by_key",
        "checked",
        "cls",
        "defaults",
        "forbidden",
        "lazy",
        "lenient",
        "members",
        "orders",
        "required",
    )

    def __init__(self, cls: type[Any], members: dict[str, Member], lenient: bool, lazy: bool) -> None:
        self.cls, self.members, self.lenient, self.lazy = cls, members, lenient, lazy
        self.by_key = {member.avp.key: member for member in members.values()}
        if len(self.by_key) < len(members):
            raise TypeError(f"{cls.__name__} has the same AVP twice")
        self.required = {name for name, member in members.items() if member.required}
        self.defaults = {name: member.default for name, member in members.items()} | {"others": ()}
        self.forbidden: frozenset[int] = frozenset()
        self.checked: set[tuple[str, ...]] = set()
        self.orders: dict[tuple[str, ...], list[tuple[str, Callable[[Any], bytes]]]] = {}

    def check(self, names: tuple[str, ...]) -> None:
        """TypeError unless an object can be made with these. Right ones are remembered, as they come again."""
        unknown, missing = set(names) - self.defaults.keys(), self.required - set(names)
        if unknown or missing:
            raise TypeError(f"{self.cls.__name__}: unknown {sorted(unknown)}, missing {sorted(missing)}")
        if len(self.checked) >= MAX_WAYS:
            self.checked.clear()
        self.checked.add(names)

    def order(self, present: tuple[str, ...]) -> list[tuple[str, Callable[[Any], bytes]]]:
        """The present members in the order of the declaration, with how each is packed. Remembered: a server builds
        its answers in a handful of ways, and asking only for what is there halves the cost of encoding."""
        if len(self.orders) >= MAX_WAYS:
            self.orders.clear()
        found: list[tuple[str, Callable[[Any], bytes]]] = [
            (name, member.pack if member.many else member.avp.pack)
            for name, member in self.members.items()
            if name in present
        ]
        if "others" in present:
            found.append(("others", b"".join))
        return self.orders.setdefault(present, found)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(req,))
class Declared:
    """Makes type checkers read the lines of every class below as its constructor's keywords."""


class Members(Declared):
    """Base of groups and commands. Made with keywords, compared by content, not to be changed afterwards.

    others    AVPs without a member here, whole, header and padding included
    lenient   (class keyword) evidence, not grammar: members may be missing or repeated, text may be any octets
    lazy      (class keyword) decoded when first read; the verdict on it is as early and complete as on anything else
    """

    others: tuple[bytes, ...] = ()
    spec: ClassVar[MembersSpec]

    def __init_subclass__(cls, *, lenient: bool = False, lazy: bool = False) -> None:
        members: dict[str, Member] = {}
        for base in reversed(cls.__mro__[1:]):
            members |= base.__dict__["spec"].members if "spec" in base.__dict__ else {}
        for name, member in list(cls.__dict__.items()):
            if isinstance(member, Member):
                if name != member.name:
                    raise TypeError(f"{cls.__name__}.{name} must be called {member.name}, as its AVP")
                members[name] = member
                delattr(cls, name)
        if not lazy:  # what is absent from an instance is found here; a lazy instance must miss to know it is read
            for name, member in members.items():
                if not member.required:
                    setattr(cls, name, member.default)
        cls.spec = MembersSpec(cls, members, lenient, lazy)

    def __init__(self, **fields: Any) -> None:
        spec = self.spec
        if tuple(fields) not in spec.checked:
            spec.check(tuple(fields))
        self.__dict__ = {**spec.defaults, **fields} if spec.lazy else fields

    if not TYPE_CHECKING:  # a checker would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            # Only reached for what neither the instance nor its class has: a lazy group that was not read yet.
            self._fields()
            if name not in self.__dict__:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            return self.__dict__[name]

    def body(self) -> bytes:
        """All AVPs as octets, in the order of the declaration."""
        fields = self._fields()
        present = tuple(fields)
        order = self.spec.orders.get(present) or self.spec.order(present)
        return b"".join([pack(value) for name, pack in order if (value := fields[name]) is not None])

    def _fields(self) -> dict[str, Any]:
        """The instance's own attributes, after reading what was not read yet."""
        fields = self.__dict__
        unread = fields.pop("unread", None)
        if unread is not None:
            frame, plan = unread
            fields.update(self.spec.defaults)
            plan.fill(self, frame)
        return fields

    def _content(self) -> dict[str, Any]:
        """What is there, without what is merely a default."""
        known = self.spec.defaults
        return {n: v for n, v in self._fields().items() if n in known and v is not None and v != ()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self.body())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self._content().items())})"


class Group(Members):
    """Base of the groups: what is inside a Grouped AVP."""

    def encode(self) -> bytes:
        """The data of the group's AVP."""
        return self.body()
