"""A TLS handshake that breaks off."""

from __future__ import annotations

from typing import Annotated

import msgspec

from omega_ai.testkit.faults.model import Context, Opening, OpeningFault


class TlsCut(OpeningFault, frozen=True, kw_only=True):
    """The TLS handshake breaks off: a reset once ``bytes`` bytes of the server's part of it were sent.

    Happens over TCP where TLS is spoken: a server that restarts, an intermediary that does not like what it
    reads. At 0 the client has sent its hello and gets nothing. It needs a proxy that terminates TLS (where
    TLS only passes, use ``limit_data``).
    """

    kind = "tls_cut"
    ends = True

    bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0

    def decide(self, context: Context) -> Opening:
        """Cut."""
        return Opening(cut_handshake=self.bytes)
