"""Descriptors: each connection takes one, and a shell's limit is far below what the kernel allows."""

from __future__ import annotations

import resource

import structlog
from msgspec import structs

from omega_ai.data_feed.settings import FeedSettings

RESERVE = 64
"""Descriptors for everything that is not a client."""

_log = structlog.get_logger(__name__)


def within_descriptors(settings: FeedSettings) -> FeedSettings:
    """``settings`` with no more connections than there is room for, once the limit is raised."""
    room = raise_descriptor_limit(settings.max_connections)
    return structs.replace(settings, max_connections=max(room, 1))


def raise_descriptor_limit(connections: int) -> int:
    """Raise this process's limit as far as it may go; returns how many connections there is room for.

    Says in the log what it did. Whoever admits more than there is room for would run out in the middle of
    somebody's handshake, and of a log file or a certificate just as well.
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
        _log.info(
            "fewer connections than allowed can be had: raise the limit (ulimit -Hn, LimitNOFILE=)",
            allowed=connections,
            room=room,
        )
    return min(room, connections)
