"""Log lines on standard error, as all processes of a feed write them."""

from __future__ import annotations

from omega_ai.data_feed.observability.logs import Format, choose_format, set_up_logs

__all__ = ["Format", "choose_format", "set_up_logs"]
