"""Our own address, as somebody else sees it."""

from __future__ import annotations

import socket
from typing import Final

ALL: Final = ("0.0.0.0", "::")


def seen_from(ours: tuple[str, int], theirs: tuple[str, int]) -> tuple[str, int]:
    """Our end of what comes from theirs, where we listen on all addresses. Sends nothing."""
    if ours[0] not in ALL:
        return ours
    family = socket.AF_INET6 if ":" in theirs[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(theirs)
            return str(asking.getsockname()[0]), ours[1]
        except OSError:
            return ours
