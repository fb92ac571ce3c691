"""What a child process runs: `python -m ocs.processes.entry <fd>`. Its role and configuration come over the channel
`fd`, never as arguments or environment, where others could read the secrets in it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from ocs.config.tree import Config
from ocs.config.values import Listen, Secret
from ocs.processes.control import UNFIT


def encode_config(config: Config) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(config, enc_hook=_plain))


def decode_config(packed: bytes | msgspec.Raw) -> Config:
    return msgspec.msgpack.decode(packed, type=Config, dec_hook=_typed)


def _plain(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Path | Listen):
        return str.__str__(value) if isinstance(value, Listen) else str(value)
    raise NotImplementedError(type(value))


def _typed(kind: type, value: str) -> Any:
    if kind in (Secret, Listen, Path):  # as they are: `file:` and `env:` were followed by the supervisor
        return kind(value)
    raise NotImplementedError(kind)


async def serve(end: socket.socket) -> int:
    """Imports only what the role needs: a worker knows no PostgreSQL, the keeper no HTTP."""
    from ocs.processes.supervisor_link import SupervisorLink, Unfit
    from ocs.telemetry.log import logger, setup

    supervisor = SupervisorLink(end)
    start = await supervisor.start()
    config = decode_config(start.config)
    setup(config.log.level, config.log.format, role=start.role, number=start.number)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.drain)
    try:
        match start.role:
            case "worker":
                from ocs.processes.worker import worker as run
            case "keeper":
                from ocs.processes.keeper import keeper as run
            case "api":
                from ocs.processes.api import api as run
            case role:
                raise AssertionError(role)
        await run(config, supervisor)
    except Unfit as why:
        logger().error("child.unfit", role=start.role, why=str(why))
        return UNFIT
    except Exception:
        logger().exception("child.failed", role=start.role)
        return 1
    finally:
        supervisor.end()
    return 0


def main(arguments: list[str]) -> int:
    import uvloop

    for number in (signal.SIGINT, signal.SIGHUP):  # both are the supervisor's
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(arguments[0])) as end:
        return uvloop.run(serve(end))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
