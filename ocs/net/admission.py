"""How much is taken on at once. Beyond it the answer is 3004 now: a queued request is a late one, and its sender has
another server to go to."""

from __future__ import annotations


class Admission:
    """`in_flight` is changed in place, by who takes a request and who answers it."""

    __slots__ = ("in_flight", "in_flight_max", "peer_in_flight_max")

    def __init__(self, in_flight_max: int, peer_in_flight_max: int) -> None:
        self.in_flight = 0
        self.in_flight_max = in_flight_max
        self.peer_in_flight_max = peer_in_flight_max
