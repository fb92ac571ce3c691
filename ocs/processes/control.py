"""Messages between supervisor and children over one AF_UNIX socket pair, which also passes sockets.

A message is a msgpack array with a tag in front and four octets of length before it. A socket travels beside its
message (SCM_RIGHTS): it arrives with the first octet of it at the latest, so the next one waiting is its own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from ocs.build import Build
from ocs.telemetry.metrics import Snapshot

READ_BYTES: Final = 262_144
FDS_MAX: Final = 64
SEND_BYTES_MAX: Final = 16 << 20
"""A child that does not read for so long is of no use."""
UNFIT: Final = 78
"""Exit status (EX_CONFIG) of a child that no restart can help: it has said why."""


class Message(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """Base of all messages."""


# --- supervisor to child ------------------------------------------------------------------------------------------


class StartMessage(Message, frozen=True):
    """The first message. `config` is the whole configuration, secrets included: it is in no argument or environment."""

    role: str
    number: int
    config: msgspec.Raw
    listen: bool = False
    """A listening socket comes with it."""
    worker_sockets: int = 0
    """So many messages follow that carry a socket (WorkerSocket)."""


class WorkerSocket(Message, frozen=True):
    """Carries a socket: this process's part of what all workers listen on. Right after the first message."""

    key: str


class Connection(Message, frozen=True):
    """Carries a socket: an accepted connection."""

    id: int
    host: str
    port: int
    tls: bool = False


class Dismiss(Message, frozen=True):
    """Close this connection unless its CER has come: too many connections are without one."""

    connection: int


class Probe(Message, frozen=True):
    """Another connection claims to be this peer: check whether this one is alive. Answered with Probed."""

    claim: int
    connection: int


class ClaimVerdict(Message, frozen=True):
    """Answer to Claim."""

    connection: int
    granted: bool


class Drain(Message, frozen=True):
    """Finish what is under way, part from the peers, and end. `fast`: do not wait for them."""

    fast: bool = False


class AskStatus(Message, frozen=True):
    """Send a Status now."""


class Children(Message, frozen=True):
    """Answer to AskChildren."""

    children: list[ChildState]


# --- child to supervisor ------------------------------------------------------------------------------------------


class Status(Message, frozen=True):
    """When asked, whenever readiness changes, twice a second while there is something to do, and now and then."""

    ready: bool
    reason: str
    """Why not, in words."""
    load: int
    """Requests in the last second."""
    metrics: Snapshot
    catalog: int = 0
    """Version of the tariffs it prices by; 0: none yet, or it does not price."""
    build: Build | None = None
    """Which one it is of; None: of one that did not say so yet. What is added to a message stands last, with a default:
    supervisor and child may be of two builds (docs/operations/upgrade.md)."""


class Claim(Message, frozen=True):
    """May this connection be the one of this Origin-Host? `several`: how many it may have."""

    connection: int
    origin_host: str
    several: int


class Probed(Message, frozen=True):
    claim: int
    alive: bool


class PeerClosed(Message, frozen=True):
    """A connection ended; it may have had claims."""

    connection: int


class AskChildren(Message, frozen=True):
    """How are all children?"""


class ChildState(msgspec.Struct, array_like=True, frozen=True):
    role: str
    number: int
    pid: int
    ready: bool
    reason: str
    catalog: int = 0
    build: str = ""


ToChild = StartMessage | WorkerSocket | Connection | Dismiss | Probe | ClaimVerdict | Drain | AskStatus | Children
ToSupervisor = Status | Claim | Probed | PeerClosed | AskChildren


class Channel:
    """One end of the pair, on a running loop. `received` gets each message, and the socket that came with it;
    `lost` is called once when the other end is gone."""

    def __init__(
        self,
        end: socket.socket,
        decode: Callable[[bytes], Message],
        received: Callable[[Message, socket.socket | None], None],
        lost: Callable[[], None],
        heard: bytes = b"",
    ) -> None:
        """heard: the beginning of a message, read by who had this end before"""
        end.setblocking(False)
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._decode = decode
        self._received = received
        self._lost = lost
        self._in = bytearray(heard)
        self._fds: deque[int] = deque()
        self._out: deque[tuple[memoryview, int | None]] = deque()
        self._waiting = 0
        self._writing = False
        self._open = True
        self._loop.add_reader(end.fileno(), self._read)

    def send(self, message: Message, carried: socket.socket | None = None) -> None:
        """`carried` may be closed by the caller at once; it stays open here until it is sent."""
        if not self._open:
            return
        body = msgspec.msgpack.encode(message)
        frame = len(body).to_bytes(4, "big") + body
        self._out.append((memoryview(frame), os.dup(carried.fileno()) if carried is not None else None))
        self._waiting += len(frame)
        if self._waiting > SEND_BYTES_MAX:
            self.close(lost=True)
        elif not self._writing:
            self._write()

    @property
    def left(self) -> tuple[int, bytes] | None:
        """The file and what was read of a message, for who has this end next; None while something is to be sent."""
        return None if self._out or not self._open else (self._socket.fileno(), bytes(self._in))

    def close(self, *, lost: bool = False) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for fd in (*self._fds, *(fd for _, fd in self._out if fd is not None)):
            os.close(fd)
        self._fds.clear()
        self._out.clear()
        if lost:
            self._lost()

    def _write(self) -> None:
        while self._out:
            data, fd = self._out[0]
            try:
                if fd is None:
                    sent = self._socket.send(data)
                else:
                    sent = socket.send_fds(self._socket, [data], [fd])
            except BlockingIOError:
                self._want_write(True)
                return
            except OSError:
                self.close(lost=True)
                return
            self._waiting -= sent
            if fd is not None:  # with the first octet the other end has it
                os.close(fd)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], None)
        self._want_write(False)

    def _want_write(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._socket.fileno(), self._write)
        elif not wanted and self._writing:
            self._loop.remove_writer(self._socket.fileno())
        self._writing = wanted

    def _read(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, READ_BYTES, FDS_MAX)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, fds = b"", []
        self._fds.extend(fds)
        self._in += data
        while self._open and len(self._in) >= 4:
            length = int.from_bytes(self._in[:4], "big")
            if len(self._in) < 4 + length:
                break
            message = self._decode(bytes(self._in[4 : 4 + length]))
            del self._in[: 4 + length]
            self._received(message, self._carried(message))
        if not data:
            self.close(lost=True)

    def _carried(self, message: Message) -> socket.socket | None:
        if isinstance(message, Connection | WorkerSocket) or (isinstance(message, StartMessage) and message.listen):
            return socket.socket(fileno=self._fds.popleft())
        return None


decode_to_child: Callable[[bytes], ToChild] = msgspec.msgpack.Decoder(ToChild).decode
decode_to_supervisor: Callable[[bytes], ToSupervisor] = msgspec.msgpack.Decoder(ToSupervisor).decode
