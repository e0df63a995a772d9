"""Times as they stand on the wire, made and read without the code under test; and a time for each test."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from omega_ai.tests.unit.data.websocket.suite_configuration import from_environment

C = TypeVar("C", bound=type)

_WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def wire_time(moment: datetime) -> str:
    """ISO 8601 in UTC, with microseconds and ``Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def is_wire_time(text: object) -> bool:
    """Whether ``text`` has exactly the form that the contract promises."""
    return isinstance(text, str) and _WIRE_TIME.fullmatch(text) is not None


def limited_in_time(tests: C) -> C:
    """Give every test of a class ``TEST_TOTAL_TIMEOUT`` seconds: what hangs has failed, too."""
    for name, test in list(vars(tests).items()):
        if name.startswith("test_") and inspect.iscoroutinefunction(test):
            setattr(tests, name, _limited(test))
    return tests


def _limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **fixtures: Any) -> None:
        seconds = from_environment().test_timeout
        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                await test(*args, **fixtures)
        except TimeoutError:
            if timer.expired():
                raise AssertionError(f"the test did not end within {seconds:g} s") from None
            raise

    return limited
