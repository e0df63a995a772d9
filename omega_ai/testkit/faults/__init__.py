"""Faults: one a file, pure, and the same for real sockets (``proxy``) and virtual time (``simnet``).

``build("latency", {"latency": 100})`` makes one from what JSON, TOML or the command line says. ``model``
explains what a fault is, ``chain`` how a driver puts it to work.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from omega_ai.testkit.faults.bandwidth import Bandwidth
from omega_ai.testkit.faults.blackhole import Blackhole
from omega_ai.testkit.faults.corrupt import Corrupt
from omega_ai.testkit.faults.half_open import HalfOpen
from omega_ai.testkit.faults.latency import Latency
from omega_ai.testkit.faults.limit_data import LimitData
from omega_ai.testkit.faults.model import BadFault, Fault
from omega_ai.testkit.faults.noop import Noop
from omega_ai.testkit.faults.refuse import Refuse
from omega_ai.testkit.faults.reset_peer import ResetPeer
from omega_ai.testkit.faults.silent_accept import SilentAccept
from omega_ai.testkit.faults.slicer import Slicer
from omega_ai.testkit.faults.slow_accept import SlowAccept
from omega_ai.testkit.faults.slow_close import SlowClose
from omega_ai.testkit.faults.stall import Stall
from omega_ai.testkit.faults.timeout import Timeout
from omega_ai.testkit.faults.tls_certificate import TlsCertificate
from omega_ai.testkit.faults.tls_cut import TlsCut
from omega_ai.testkit.faults.ws_close import WsClose
from omega_ai.testkit.faults.ws_corrupt import WsCorrupt
from omega_ai.testkit.faults.ws_delay import WsDelay
from omega_ai.testkit.faults.ws_drop import WsDrop
from omega_ai.testkit.faults.ws_duplicate import WsDuplicate
from omega_ai.testkit.faults.ws_fragment import WsFragment
from omega_ai.testkit.faults.ws_mask import WsMask
from omega_ai.testkit.faults.ws_no_deflate import WsNoDeflate
from omega_ai.testkit.faults.ws_no_pong import WsNoPong
from omega_ai.testkit.faults.ws_reorder import WsReorder
from omega_ai.testkit.faults.ws_truncate import WsTruncate

__all__ = ["FAULTS", "BadFault", "Fault", "build", "toxiproxy_knows"]

_KNOWN: Final[tuple[type[Fault], ...]] = (
    Latency,
    Bandwidth,
    SlowClose,
    Timeout,
    ResetPeer,
    Slicer,
    LimitData,
    Noop,
    Stall,
    Blackhole,
    HalfOpen,
    Corrupt,
    Refuse,
    SlowAccept,
    SilentAccept,
    TlsCertificate,
    TlsCut,
    WsDrop,
    WsDuplicate,
    WsReorder,
    WsDelay,
    WsCorrupt,
    WsFragment,
    WsTruncate,
    WsMask,
    WsClose,
    WsNoPong,
    WsNoDeflate,
)

FAULTS: Final[Mapping[str, type[Fault]]] = {fault.kind: fault for fault in _KNOWN}
"""Every fault by its name."""


_TOXIPROXY: Final = frozenset(
    {"latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data", "noop"}
)


def build(kind: str, attributes: Mapping[str, Any], *, strict: bool = True) -> Fault:
    """The fault ``kind`` with these attributes; those that are missing have their defaults.

    ``strict`` refuses attributes that the fault does not have; otherwise they are ignored, as Toxiproxy does.

    Raises:
        BadFault: no such fault or attribute, or a value out of bounds. The text says what there is.
    """
    fault = FAULTS.get(kind)
    if fault is None:
        raise BadFault(f"there is no fault {kind!r}: {_near(kind, FAULTS)}")
    if strict:
        for name in attributes:
            if name not in fault.__struct_fields__:
                raise BadFault(f"{kind} has no attribute {name!r}: {_near(name, fault.__struct_fields__)}")
    try:
        built = msgspec.convert(dict(attributes), fault)
    except msgspec.ValidationError as error:
        raise BadFault(f"{kind}: {error}") from None
    built.check()
    return built


def toxiproxy_knows(kind: str) -> bool:
    """Whether Toxiproxy has a toxic of that name, with these attributes."""
    return kind in _TOXIPROXY


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
