"""TLS contexts for venues: made once for all, and not on the event loop.

OpenSSL takes a tenth of a second to read the system's authorities. Six venues that each did so at the start
held up everything else for more than half a second.
"""

from __future__ import annotations

import asyncio
import ssl

from omega_ai.core.client_tls import client_context, is_loopback


class Trust:
    """Whom connections trust; ``fixed`` is used for all of them, if given."""

    def __init__(self, fixed: ssl.SSLContext | None = None) -> None:
        self._fixed = fixed
        self._made: dict[bool, ssl.SSLContext] = {}
        self._lock = asyncio.Lock()

    async def context(self, host: str) -> ssl.SSLContext:
        """The context for connecting to ``host``: the system's authorities, for this machine ours as well.

        Raises:
            CertificateError: the development authority cannot be read.
        """
        if self._fixed is not None:
            return self._fixed
        local = is_loopback(host)
        async with self._lock:
            if local not in self._made:
                self._made[local] = await asyncio.to_thread(client_context, host=host)
            return self._made[local]
