"""The suite ``contract``: messages made from a contract, and the answers held against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from omega_ai.testkit.case import Need, NotApplicable, Outcome, Suite, failed, judged, unknown
from omega_ai.testkit.contract.document import Contract, MessageType
from omega_ai.testkit.contract.talk import IMPATIENT_S, Talk, Wrong, kinds_to_try
from omega_ai.testkit.profile import builtin_names
from omega_ai.testkit.result import Finding, Severity

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

SUITE: Final = Suite(name="contract", title="The server keeps its contract", quick=False)

EXAMPLES: Final = 40
"""Conversations for each kind of message."""
SEQUENCES: Final = 120
SEQUENCE_STEPS: Final = 6
TIMEOUT: Final = 300.0


@SUITE.case(
    "valid",
    "Every valid message is taken",
    expectation="an answer of the contract, or none; the connection lives on, whatever the bounds allow",
    needs=[Need.CONTRACT],
    timeout=TIMEOUT,
    destructive=True,
)
async def valid(context: Context) -> Outcome:
    """One message a conversation, kind by kind."""
    contract, kinds = _given(context)
    return await _kind_by_kind(context, contract, kinds, valid=True)


@SUITE.case(
    "invalid",
    "Every message that breaks the contract is answered by an error",
    expectation="the error of the contract, the connection lives on, and nobody else sees it",
    needs=[Need.CONTRACT],
    timeout=TIMEOUT,
    destructive=True,
)
async def invalid(context: Context) -> Outcome:
    """One message a conversation, kind by kind."""
    contract, kinds = _given(context)
    if not contract.errors and context.profile.errors is None:
        raise NotApplicable("neither the contract nor the profile says how an error looks")
    return await _kind_by_kind(context, contract, kinds, valid=False)


@SUITE.case(
    "sequences",
    "Several messages on one connection, right and wrong ones",
    expectation="each is answered by the contract, whatever came before it",
    needs=[Need.CONTRACT],
    timeout=TIMEOUT,
    destructive=True,
)
async def sequences(context: Context) -> Outcome:
    """Every kind alone and after every other, in its simplest form; then two to six steps of all kinds."""
    from hypothesis import strategies as st

    from omega_ai.testkit.contract.generate import edges, invalid_steps, valid_steps

    contract, kinds = _given(context)
    talk = Talk(context, contract)
    simplest = [step for kind in kinds for step in edges(contract, kind, valid=True)[:1]]
    pairs = ([one, other] for one in simplest for other in simplest)
    outcome = await _try_each(context, talk, chain(([one] for one in simplest), pairs))
    if outcome is not None:
        return outcome
    step = valid_steps(contract, kinds)
    if contract.errors or context.profile.errors is not None:
        step = st.one_of(step, step, invalid_steps(contract, kinds))
    steps = st.lists(step, min_size=2, max_size=SEQUENCE_STEPS)
    outcome = await _look(context, talk, steps, SEQUENCES)
    return _passed(talk, kinds, "conversations of 2 to 6 messages") if outcome is None else outcome


def _given(context: Context) -> tuple[Contract, list[MessageType]]:
    contract = context.target.contract
    assert contract is not None  # noqa: S101 - Need.CONTRACT
    contract.examples = context.profile.contract.values
    kinds = kinds_to_try(contract, context.profile.contract.skip)
    if not kinds:
        raise NotApplicable("the profile leaves out every message of the contract")
    return contract, kinds


async def _kind_by_kind(
    context: Context, contract: Contract, kinds: Sequence[MessageType], *, valid: bool
) -> Outcome:
    """One message a conversation: the edges of its schema first, then what is made from it."""
    from omega_ai.testkit.contract.generate import edges, invalid_steps, valid_steps

    steps = valid_steps if valid else invalid_steps
    talk = Talk(context, contract)
    for number, kind in enumerate(kinds):
        context.progress(kind.name, number / len(kinds))
        outcome = await _try_each(context, talk, [[step] for step in edges(contract, kind, valid=valid)])
        outcome = outcome or await _look(context, talk, _single(steps(contract, [kind])), EXAMPLES)
        if outcome is not None:
            return outcome
    return _passed(talk, kinds, "valid messages" if valid else "messages that break it")


def _single(step: Any) -> Any:
    return step.map(lambda one: [one])


async def _try_each(context: Context, talk: Talk, every: Iterable[list[Any]]) -> Outcome | None:
    """Conversations that are as small as can be already."""
    for steps in every:
        try:
            await talk.hold(steps)
        except Wrong as wrong:
            return _broken(context, talk.contract, wrong, 0)
    return None


async def _look(context: Context, talk: Talk, strategy: Any, examples: int) -> Outcome | None:
    """None if nothing was found."""
    from omega_ai.testkit.contract.search import search

    async def hold(steps: list[Any]) -> None:
        try:
            await talk.hold(steps)
        except Wrong:
            talk.patience = IMPATIENT_S
            raise

    found = await search(strategy, hold, examples=examples, number=context.seed)
    if found.wrong is None:
        return None
    if found.once:
        return unknown(f"seen once, and not again: {found.wrong}")
    return _broken(context, talk.contract, found.wrong, found.tries)


def _broken(context: Context, contract: Contract, wrong: Wrong, tries: int) -> Outcome:
    from omega_ai.testkit.contract.reproduce import pytest_file

    profile = context.profile.name
    name, text = pytest_file(
        wrong,
        case=context.name,
        source=contract.source,
        url=context.target.url,
        profile=profile if profile in builtin_names() else None,
        command=f"omega test {context.target.url} --contract {contract.source} --seed {context.seed}",
    )
    said = [f"{len(wrong.steps)} message{'s' if len(wrong.steps) > 1 else ''}"] if wrong.steps else []
    shrunk = f" (shrunk to {said[0]} in {tries} tries)" if said and tries else ""
    finding = Finding(kind=wrong.kind, text=str(wrong), severity=Severity.FAILURE)
    outcome = failed(f"{wrong}{shrunk}", findings=[finding])
    return _with(outcome, name, text)


def _with(outcome: Outcome, name: str, text: str) -> Outcome:
    from dataclasses import replace

    return replace(outcome, reproducer=(name, text))


def _passed(talk: Talk, kinds: Sequence[MessageType], what: str) -> Outcome:
    findings = [
        Finding(
            kind="refused",
            text=f"every one of {count} valid {name} messages was answered by an error",
            severity=Severity.WARNING,
        )
        for name, count in talk.sent.items()
        if talk.refused.get(name) == count
    ]
    some = {name: n for name, n in talk.refused.items() if n < talk.sent[name]}
    if some:
        told = ", ".join(f"{n} of {talk.sent[name]} {name}" for name, n in sorted(some.items()))
        text = f"valid by the schemas, and answered by an error all the same: {told}"
        findings.append(Finding(kind="refused", text=text, severity=Severity.NOTE))
    return judged(findings, f"{talk.done} {what} of {len(kinds)} kinds", examined=talk.done)
