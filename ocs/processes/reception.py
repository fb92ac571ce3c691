"""Accepts Diameter connections in the supervisor and hands them to workers. A connection from an address of no
configured peer is closed at once; of connections without a CER the longest silent one is closed for the next. So
neither keeps a peer out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ocs.config.diameter import Diameter
from ocs.net.diameter.peers import Peers
from ocs.net.room import ConnectionRoom
from ocs.processes.child_process import Child
from ocs.processes.control import Connection, Dismiss
from ocs.processes.listeners import accept_some
from ocs.telemetry import metrics
from ocs.telemetry.log import Seldom, logger

KEYS: Final = ("diameter.listen", "diameter.tls_listen")


class Reception:
    def __init__(
        self,
        config: Diameter,
        listeners: Mapping[str, socket.socket],
        workers: Sequence[Child],
        meter: metrics.Meter,
        last_connection: int = 0,
    ) -> None:
        """
        listeners:       by key of the configuration; those of `KEYS` that are open
        last_connection: number of the last one that was handed over by who accepted before us
        """
        self._config, self._workers = config, workers
        self._listeners = {key: listeners[key] for key in KEYS if key in listeners}
        self._connections = meter.counts(metrics.CONNECTIONS)
        self._peers = Peers(config.peers, admit_loopback=config.admit_loopback)
        self._strangers = ConnectionRoom[int](
            silent_max=config.strangers_max, silent_of_address=config.address_strangers_max
        )
        self._seldom = Seldom()
        self.last_connection = last_connection
        self._paused: set[str] = set()

    def open(self) -> None:
        for key in self._listeners:
            self._listen(key)

    def close(self) -> None:
        for key in self._listeners:
            asyncio.get_running_loop().remove_reader(self._listeners[key].fileno())
        self._paused.clear()

    def resume(self) -> None:
        """Called at an interval: waiting connections may be accepted again."""
        if self._paused and self._fit():
            for key in self._paused:
                self._listen(key)
            self._paused.clear()

    def known(self, connections: Iterable[int]) -> None:
        """These connections have sent their CER, or have ended."""
        for connection in connections:
            self._strangers.leave(connection)

    # ---- inside

    def _listen(self, key: str) -> None:
        asyncio.get_running_loop().add_reader(self._listeners[key].fileno(), self._accept, key)

    def _pause(self, key: str) -> None:
        asyncio.get_running_loop().remove_reader(self._listeners[key].fileno())
        self._paused.add(key)

    def _accept(self, key: str) -> None:
        """While no worker can take them, connections wait in the backlog: that is shorter than a peer's patience."""
        if not self._fit():
            self._pause(key)
            return
        try:
            accept_some(self._listeners[key], self._hand_tls if key == "diameter.tls_listen" else self._hand)
        except OSError as why:  # too many open files: those that wait must wait
            logger().error("accept.failed", why=str(why))
            self._pause(key)

    def _fit(self) -> list[Child]:
        return [worker for worker in self._workers if worker.running and worker.was_ready and not worker.draining]

    def _hand(self, connection: socket.socket, host: str, port: int, tls: bool = False) -> None:
        """To the worker with the fewest connections, then with the least to do; one that is not ready only when none
        is: it answers 3004, which sends a peer elsewhere faster than silence does."""
        if not self._peers.may_come_from(host):
            self._connections["diameter", "unknown address"] += 1
            times = self._seldom.times(host)
            if times:
                why = "no peer in diameter.peers comes from there"
                logger().warning("diameter.unknown_address", address=host, why=why, times=times)
            return
        fit = self._fit()
        fit = [worker for worker in fit if worker.status.ready] or fit
        known = sum(len(worker.connections) for worker in fit) - len(self._strangers)
        if not fit or known >= self._config.peers_max:
            self._connections["diameter", "too many"] += 1
            return
        worker = min(fit, key=lambda worker: (len(worker.connections), worker.status.load))
        self.last_connection += 1
        worker.connections.add(self.last_connection)
        self._make_room(self._strangers.enter(self.last_connection, host))
        worker.send(Connection(self.last_connection, host, port, tls), connection)

    def _hand_tls(self, connection: socket.socket, host: str, port: int) -> None:
        self._hand(connection, host, port, tls=True)

    def _make_room(self, stranger: int | None) -> None:
        for worker in self._workers:
            if stranger is not None and stranger in worker.connections:
                worker.send(Dismiss(stranger))
