"""A proxy that harms: between any client and any server over TCP, TLS or WebSocket, with faults when told
to."""

from omega_ai.testkit.proxy.service import FaultProxy

__all__ = ["FaultProxy"]
