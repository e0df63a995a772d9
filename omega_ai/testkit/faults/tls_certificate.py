"""A wrong certificate."""

from __future__ import annotations

from typing import Literal

from omega_ai.testkit.faults.model import Context, Opening, OpeningFault

CertificateKind = Literal[
    "expired", "not_yet_valid", "wrong_name", "self_signed", "unknown_authority", "weak_key"
]


class TlsCertificate(OpeningFault, frozen=True, kw_only=True):
    """New connections are shown a wrong certificate: ``show`` says which.

    Happens over TCP where TLS is spoken: a renewal that was forgotten, a wrong host, a man in the middle. It
    needs a proxy that terminates TLS; in a simulation it is a client's failed handshake.
    """

    kind = "tls_certificate"
    ends = True

    show: CertificateKind = "expired"

    def decide(self, context: Context) -> Opening:
        """Show it."""
        return Opening(certificate=self.show)
