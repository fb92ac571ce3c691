"""Messages the tests send. Built from trees, not from the typed classes under test."""

from typing import Any

from protocol.diameter.header import PROXIABLE, REQUEST
from protocol.diameter.tree import encode_tree
from tests.protocol.vectors import TOOL

Tree = dict[str, Any]
Avps = list[Tree]

CCR_I = bytes.fromhex(TOOL["dia-tool-010-ccr-i"]["hex"])
CCR_U = bytes.fromhex(TOOL["dia-tool-012-ccr-u-exhausted"]["hex"])
CCR_E = bytes.fromhex(TOOL["dia-tool-030-ccr-e-sms"]["hex"])


def avp(
    code: int, value: Any, kind: str = "Unsigned32", *, vendor: int = 0, flags: int | None = None
) -> dict[str, Any]:
    """One AVP of a tree; a list is a group, octets are an OctetString, text is text."""
    shown = {"code": code, "vendor": vendor, "flags": (0xC0 if vendor else 0x40) if flags is None else flags}
    if isinstance(value, list):
        return shown | {"type": "Grouped", "avps": value}
    if isinstance(value, bytes):
        return shown | {"type": "OctetString", "value": value.hex()}
    return shown | {"type": "UTF8String" if isinstance(value, str) else kind, "value": value}


def message(
    command: int, avps: Avps, *, application: int = 0, flags: int = REQUEST, hop: int = 1, end: int = 2
) -> bytes:
    header = {"flags": flags, "command": command, "application": application, "hop_by_hop": hop, "end_to_end": end}
    return encode_tree(header | {"avps": avps})


def ccr(*more: Tree, without: tuple[int, ...] = (), request_type: int = 2, flags: int = REQUEST | PROXIABLE) -> bytes:
    """A CCR with what is required and whatever more, in that order."""
    required = [
        avp(263, "gw.example.com;1;2"),
        avp(264, "gw.example.com"),
        avp(296, "example.com"),
        avp(283, "example.net"),
        avp(258, 4),
        avp(461, "32251@3gpp.org"),
        avp(416, request_type),
        avp(415, 7),
    ]
    return message(
        272, [one for one in required if one["code"] not in without] + list(more), application=4, flags=flags
    )


def cer(*more: Tree, host: str = "gw.example.com", apps: tuple[int, ...] = (4,), address: bool = True) -> bytes:
    avps = [avp(264, host), avp(296, "example.com")]
    avps += [avp(257, bytes.fromhex("00017f000001"))] if address else []
    avps += [avp(266, 10415), avp(269, "gateway", flags=0), *(avp(258, app) for app in apps)]
    return message(257, [*avps, *more])


def dwr(host: str = "gw.example.com", *more: Tree) -> bytes:
    return message(280, [avp(264, host), avp(296, "example.com"), *more])


def dpr(cause: int = 0, host: str = "gw.example.com") -> bytes:
    return message(282, [avp(264, host), avp(296, "example.com"), avp(273, cause)])


def answer_to(request: bytes, *avps: Tree, result: int = 2001, host: str = "gw.example.com") -> bytes:
    """What the other side says to a request of ours."""
    body = [avp(268, result), avp(264, host), avp(296, "example.com"), *avps]
    made = bytearray(message(int.from_bytes(request[5:8], "big"), body, flags=0))
    made[8:20] = request[8:20]
    return bytes(made)
