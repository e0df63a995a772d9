"""Looks for a conversation that breaks the contract, and shrinks it: Hypothesis, from the event loop."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import errors as hypothesis_errors
from hypothesis import strategies as st

from omega_ai.testkit.case import CaseEnded
from omega_ai.testkit.contract.step import Step
from omega_ai.testkit.contract.talk import Wrong

STEP_LIMIT_S: Final = 60.0
SHRINK_LIMIT: Final = 200
"""Conversations that shrinking may hold; then the smallest so far is the one."""


@dataclass(slots=True)
class Found:
    """What a search came to."""

    examples: int = 0
    wrong: Wrong | None = None
    """The smallest conversation that breaks the contract."""
    tries: int = 0
    """Conversations it took to shrink it."""
    once: bool = False
    """It was seen, and not again when it was repeated."""


class _Stop(Exception):
    """Something that is no breach of the contract ends the search."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


async def search(
    strategy: st.SearchStrategy[list[Step]],
    hold: Callable[[list[Step]], Coroutine[Any, Any, None]],
    *,
    examples: int,
    number: int,
) -> Found:
    """Hold up to ``examples`` conversations; the first that is wrong is shrunk. ``number``: the seed.

    Raises:
        CaseEnded: the conversation itself ended the case.
    """
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(_search, strategy, hold, examples, number, loop)


def _search(
    strategy: st.SearchStrategy[list[Step]],
    hold: Callable[[list[Step]], Coroutine[Any, Any, None]],
    examples: int,
    number: int,
    loop: asyncio.AbstractEventLoop,
) -> Found:
    found = Found()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def every(steps: list[Step]) -> None:
        if found.wrong is not None:
            found.tries += 1
            if found.tries > SHRINK_LIMIT:
                return
        else:
            found.examples += 1
        try:
            asyncio.run_coroutine_threadsafe(hold(steps), loop).result(STEP_LIMIT_S)
        except Wrong as wrong:
            if found.wrong is None or _size(wrong) <= _size(found.wrong):
                found.wrong = wrong
            raise AssertionError(wrong.kind) from None
        except CaseEnded as ended:
            raise _Stop(ended) from None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            every()
        except AssertionError:
            pass
        except _Stop as stop:
            if found.wrong is None:
                raise stop.error from None
        except hypothesis_errors.FlakyFailure:
            found.once = found.tries <= SHRINK_LIMIT
        except hypothesis_errors.Flaky:
            found.once = found.tries <= SHRINK_LIMIT
    return found


def _size(wrong: Wrong) -> tuple[int, int]:
    return len(wrong.steps), sum(len(step.text) for step in wrong.steps)
