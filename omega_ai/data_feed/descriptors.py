"""Descriptors: each connection takes one, and the limit that a shell sets is far below what a kernel allows."""

from __future__ import annotations

import resource

import structlog

RESERVE = 64
"""Descriptors for everything that is not a client."""

_log = structlog.get_logger(__name__)


def raise_descriptor_limit(connections: int) -> int:
    """Raise this process's limit as far as it may go; returns how many connections that makes room for.

    Says in the log what it did, and when the limit stays below ``connections``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVE
    limit = soft
    if soft < wanted:
        # Beyond need it would only slow down those who walk over all descriptors (subprocess, say).
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):  # some systems allow less than they tell
            limit = soft
    if limit != soft:
        _log.info("descriptor_limit_raised", before=soft, now=limit)
    room = max(limit - RESERVE, 0)
    if room < connections:
        _log.warning(
            "fewer descriptors than connections allowed: raise the limit (ulimit -Hn, LimitNOFILE=)",
            connections=connections,
            room=room,
        )
    return room
