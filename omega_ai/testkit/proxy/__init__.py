"""A proxy that harms: between any client and any server over TCP, TLS or WebSocket, with faults when told
to."""

from omega_ai.testkit.proxy.records import Event
from omega_ai.testkit.proxy.service import FaultProxy
from omega_ai.testkit.proxy.tls import ProxyTls

__all__ = ["Event", "FaultProxy", "ProxyTls"]
