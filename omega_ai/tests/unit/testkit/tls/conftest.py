"""An authority for the tests of this directory."""

from __future__ import annotations

import pytest

from omega_ai.testkit.zoo.certificates import Authority


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that lives as long as they run."""
    return Authority(tmp_path_factory.mktemp("authority"))
