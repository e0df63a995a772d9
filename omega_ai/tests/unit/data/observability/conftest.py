"""What these tests do to structlog's configuration, which is the process's, ends with each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    """``capture_logs`` leaves it configured, and others go by whether it is."""
    configured = structlog.is_configured()
    yield
    if not configured:
        structlog.reset_defaults()
