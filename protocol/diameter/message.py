"""Typed messages: decode, encode, answer; and the dictionary that knows all of them."""

from types import ModuleType
from typing import Any, ClassVar, Self, TypeVar

from protocol.diameter.avp import Avp, Group, Members
from protocol.diameter.header import (
    ERROR,
    LAYOUT,
    PROXIABLE,
    REQUEST,
    RETRANSMITTED,
    SIZE,
    Header,
    with_header,
)
from protocol.diameter.shapes import Shapes
from protocol.diameter.walk import NOBODY, FrameWalk, Known, Vendors
from protocol.errors import HeaderError, ResultCode

G = TypeVar("G", bound=Group)


class DiameterCommand(Members):
    """Base of all commands. Everything here is a class variable so that it is no field of the constructor; in a decoded
    message `flags`, `application`, `hop_by_hop`, `end_to_end` and `frame` are those of its header and octets."""

    code: ClassVar[int] = 0  # 0: no command of its own
    request: ClassVar[bool]
    error: ClassVar[bool] = False  # the grammar of answers with the E bit
    application: ClassVar[int] = 0  # what we put into the header
    any_application: ClassVar[bool] = False  # whether another one is taken as well
    flags: ClassVar[int] = 0
    hop_by_hop: ClassVar[int] = 0
    end_to_end: ClassVar[int] = 0
    frame: ClassVar[bytes] = b""

    forbidden: ClassVar[tuple[Avp[Any], ...]] = ()
    known: ClassVar[Known] = {}
    shapes: ClassVar[Shapes]
    tolerant: ClassVar[dict[Vendors, Shapes]]
    """Of messages judged with vendors whose unknown AVPs are passed over: what these let through, others must not."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.spec.forbidden = frozenset(avp.key for avp in cls.forbidden)
        cls.shapes = Shapes()
        cls.tolerant = {}

    @property
    def is_retransmitted(self) -> bool:
        """The T bit: it may be a copy, and that is only a hint (RFC 6733 section 3)."""
        return bool(self.flags & RETRANSMITTED)

    @property
    def is_proxiable(self) -> bool:
        return bool(self.flags & PROXIABLE)

    @classmethod
    def decode(cls, frame: bytes, ignored: Vendors = NOBODY) -> Self:
        """The message, or ProtocolError. The verdict is complete when this returns.

        ignored: vendors whose AVPs we do not know are passed over, although they have the M bit
        """
        shapes = cls._shapes(ignored) if ignored else cls.shapes
        plan = shapes.find(frame)
        if plan is None:
            return cls._walk(frame, ignored)
        message = cls.__new__(cls)
        message.__dict__["frame"] = frame
        plan.fill(message, frame)
        return message

    @classmethod
    def _shapes(cls, ignored: Vendors) -> Shapes:
        found = cls.tolerant.get(ignored)
        if found is None:
            found = cls.tolerant[ignored] = Shapes()
        return found

    @classmethod
    def _walk(cls, frame: bytes, ignored: Vendors = NOBODY) -> Self:
        cls._check_header(frame)
        walk = FrameWalk(frame, cls.known, ignored)
        plan = walk.message(cls.spec)
        message = cls.__new__(cls)
        message.__dict__["frame"] = frame
        plan.fill(message, frame)
        message.check()
        if walk.learnable:
            shapes = cls._shapes(ignored) if ignored else cls.shapes
            shapes.learn(frame, bytes(walk.mask), plan)
        return message

    def check(self) -> None:
        """What the grammar cannot say, as AvpError. It may look only at which fields are there, at closed enumerations
        and at application ids: the verdict is reused for messages that agree in these."""

    @classmethod
    def _check_header(cls, frame: bytes) -> None:
        header = check_header(frame)
        if header.command != cls.code and not cls.error:
            raise HeaderError(ResultCode.COMMAND_UNSUPPORTED, f"command {header.command} is not {cls.__name__}")
        if header.is_request != cls.request or bool(header.flags & ERROR) != cls.error:
            raise HeaderError(ResultCode.INVALID_HDR_BITS, f"flags {header.flags:#04x} are not of {cls.__name__}")
        if header.application != cls.application and not cls.any_application:
            why = f"application {header.application} has no {cls.__name__}"
            raise HeaderError(ResultCode.APPLICATION_UNSUPPORTED, why)

    def encode(
        self, *, hop_by_hop: int, end_to_end: int, flags: int | None = None, application: int | None = None
    ) -> bytes:
        """The whole message. Flags and application are the class's own unless given."""
        if flags is None:
            flags = (REQUEST if self.request else 0) | (PROXIABLE if self.application else 0)
        return with_header(
            self.body(),
            flags=flags,
            command=self.code,
            application=type(self).application if application is None else application,
            hop_by_hop=hop_by_hop,
            end_to_end=end_to_end,
        )

    def answer(self, request: "DiameterCommand") -> bytes:
        """This answer as octets for that request: with its ids, application and P bit, and its Proxy-Info AVPs in
        their order and octet for octet (RFC 6733 section 6.2)."""
        body = self.body() + b"".join(getattr(request, "proxy_info", ()))
        first = 1 << 24 | SIZE + len(body)
        second = (request.flags & PROXIABLE) << 24 | self.code
        return LAYOUT.pack(first, second, request.application, request.hop_by_hop, request.end_to_end) + body


def check_header(frame: bytes) -> Header:
    """What is judged before the command is known; reserved bits are ignored (RFC 6733 section 3)."""
    if len(frame) < SIZE:
        raise HeaderError(ResultCode.INVALID_MESSAGE_LENGTH, f"{len(frame)} octets are no message")
    header = Header.of(frame)
    if header.version != 1:
        raise HeaderError(ResultCode.UNSUPPORTED_VERSION, f"version {header.version}")
    if header.length != len(frame) or header.length % 4:
        raise HeaderError(ResultCode.INVALID_MESSAGE_LENGTH, f"Message Length {header.length} of {len(frame)} octets")
    if header.is_request and header.flags & ERROR:
        raise HeaderError(ResultCode.INVALID_HDR_BITS, "a request with the E bit")
    return header


class Dictionary:
    """Every AVP and command of the listed modules. An AVP declared twice is an error at import."""

    def __init__(self, *modules: ModuleType, error_answer: type[DiameterCommand] | None = None) -> None:
        self.known: Known = {}
        self.commands: dict[tuple[int, bool], type[DiameterCommand]] = {}
        self._error_answer = error_answer
        for module in modules:
            for declared in vars(module).values():
                self.add(declared)

    def add(self, declared: Any) -> None:
        """An AVP, a command, or a tuple of them; anything else a module holds is passed over."""
        if isinstance(declared, tuple):
            for one in declared:
                self.add(one)
        elif isinstance(declared, Avp):
            if self.known.setdefault(declared.key, declared) is not declared:
                raise TypeError(f"{declared} is also declared as {self.known[declared.key]}")
        elif isinstance(declared, type) and issubclass(declared, DiameterCommand) and declared is not DiameterCommand:
            declared.known = self.known
            if declared.code:
                self.commands[declared.code, declared.request] = declared

    def decode(self, frame: bytes, ignored: Vendors = NOBODY) -> DiameterCommand:
        """The typed message of whatever command this is. An answer with the E bit has the grammar of errors instead of
        its command's (RFC 6733 section 7.2)."""
        cls = self.commands.get((int.from_bytes(frame[5:8], "big"), frame[4:5] >= b"\x80"))
        if cls is None or (frame[4] & ERROR and not cls.request):
            header = check_header(frame)
            if header.is_request or not header.flags & ERROR or self._error_answer is None:
                raise HeaderError(ResultCode.COMMAND_UNSUPPORTED, f"command {header.command} is not known")
            cls = self._error_answer
        return cls.decode(frame, ignored)

    def decode_group(self, cls: type[G], octets: bytes) -> G:
        """The group whose AVP data these octets are, or AvpError."""
        plan = FrameWalk(octets, self.known).group(cls.spec, len(octets))
        group = cls.__new__(cls)
        plan.fill(group, octets)
        return group
