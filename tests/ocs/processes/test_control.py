"""The channel between supervisor and child: messages whole and in order, sockets beside their own message."""

import asyncio
import socket
from collections.abc import Callable

from ocs.processes.control import (
    Channel,
    Claim,
    Connection,
    Drain,
    Message,
    Status,
    decode_to_child,
    decode_to_supervisor,
)
from ocs.telemetry.metrics import Series


class End:
    def __init__(self, end: socket.socket, decode: Callable[[bytes], Message]) -> None:
        self.heard: list[tuple[Message, socket.socket | None]] = []
        self.lost = 0
        self.channel = Channel(end, decode, lambda message, carried: self.heard.append((message, carried)), self._lost)

    def _lost(self) -> None:
        self.lost += 1


def pair() -> tuple[End, End]:
    one, other = socket.socketpair()
    return End(one, decode_to_supervisor), End(other, decode_to_child)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_messages_both_ways() -> None:
    supervisor, child = pair()
    status = Status(True, "", 3, (Series("ocs_x_total", ("a",), (1, 2**60)),))
    child.channel.send(status)
    child.channel.send(Claim(7, "pgw", 1))
    supervisor.channel.send(Drain(fast=True))
    await until(lambda: len(supervisor.heard) == 2 and len(child.heard) == 1)
    assert [message for message, _ in supervisor.heard] == [status, Claim(7, "pgw", 1)]
    assert child.heard == [(Drain(fast=True), None)]
    supervisor.channel.close()
    child.channel.close()


async def test_sockets_arrive_with_their_message() -> None:
    supervisor, child = pair()
    listener = socket.create_server(("127.0.0.1", 0))
    clients = []
    for number in range(30):
        clients.append(socket.create_connection(listener.getsockname()))
        accepted, (host, port) = listener.accept()
        supervisor.channel.send(Connection(number, host, port), accepted)
        supervisor.channel.send(Drain())
        accepted.close()
    await until(lambda: len(child.heard) == 60)
    for number, client in enumerate(clients):
        message, carried = child.heard[number * 2]
        assert isinstance(message, Connection)
        assert message.id == number
        assert carried is not None
        assert carried.getpeername() == client.getsockname() == (message.host, message.port)
        carried.close()
        client.close()
    listener.close()
    supervisor.channel.close()
    child.channel.close()


async def test_more_than_the_kernel_takes_at_once() -> None:
    supervisor, child = pair()
    big = Status(True, "x" * 3_000_000, 0, ())
    for _ in range(3):
        child.channel.send(big)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor.channel.send(Connection(1, "127.0.0.1", 1), listener)
    await until(lambda: len(supervisor.heard) == 3 and len(child.heard) == 1)
    assert all(message == big for message, _ in supervisor.heard)
    carried = child.heard[0][1]
    assert carried is not None
    carried.close()
    supervisor.channel.close()
    child.channel.close()


async def test_the_other_end_is_gone() -> None:
    supervisor, child = pair()
    child.channel.send(Claim(1, "last words", 1))
    child.channel.close()
    await until(lambda: supervisor.lost == 1)
    assert [message for message, _ in supervisor.heard] == [Claim(1, "last words", 1)]
    supervisor.channel.send(Drain())  # to nobody: no error
    assert child.lost == 0


async def test_who_does_not_read_is_given_up() -> None:
    one, other = socket.socketpair()
    supervisor = End(one, decode_to_supervisor)
    for _ in range(20):
        supervisor.channel.send(Status(False, "x" * 1_000_000, 0, ()))
    assert supervisor.lost == 1
    other.close()
