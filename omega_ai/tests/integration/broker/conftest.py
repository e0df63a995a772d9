"""A private Valkey for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from omega_ai.tests.valkey import ValkeyProcess


@pytest.fixture
def valkey() -> Iterator[ValkeyProcess]:
    """On a unix socket, its data outliving restarts."""
    with ValkeyProcess(persistent=True) as process:
        yield process
