"""TLS of the HTTP API, whose certificate is renewed while it serves."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

from ocs.net.tls import certified_server
from ocs.telemetry.log import logger

LOOK_S: Final = 5.0


class OwnCertificate:
    """
    client_ca: authorities of clients' certificates, which are asked for and need not be shown; "": none is asked for
    """

    def __init__(self, cert: str, key: str, client_ca: str) -> None:
        self._cert, self._key = cert, key
        self._seen = self._stamp()
        self.context = certified_server(cert, key, "http")
        if client_ca:
            self.context.verify_mode = ssl.CERT_OPTIONAL
            self.context.load_verify_locations(client_ca)

    def look(self) -> bool:
        """Load the files again where they have changed; whether they were. Connections that are there stay."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            certified_server(self._cert, self._key, "http")  # both fit, before the one in use is touched
            self.context.load_cert_chain(self._cert, self._key)
        except Exception as why:
            logger().error("api.certificate_unusable", why=str(why))
            return False
        logger().info("api.certificate_loaded", file=self._cert)
        return True

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def _stamp(self) -> tuple[float, ...]:
        found = []
        for file in (self._cert, self._key):
            try:
                found.append(Path(file).stat().st_mtime)
            except OSError:
                found.append(0.0)
        return tuple(found)
