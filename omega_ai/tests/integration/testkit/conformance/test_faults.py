"""Each fault is caught by the cases that look for it, and for the reason that it is one."""

from __future__ import annotations

import pytest

from omega_ai.testkit.conformance.exchange import Exchange
from omega_ai.testkit.conformance.suite import SUITE
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import CaseResult, Severity
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.conformance_server import FAULTS, FaultyEcho

CATCHES: tuple[tuple[str, str, str], ...] = (
    ("mask", "mask-unmasked-text", "accepted"),
    ("hangs", "mask-unmasked-close", "accepted"),
    ("rsv", "rsv-010-text-in-one-packet", "accepted"),
    ("rsv", "rsv-100-ping", "accepted"),
    ("rsv", "deflate-not-agreed", "close code"),
    ("opcode", "opcode-3-empty", "accepted"),
    ("opcode", "opcode-15-payload", "accepted"),
    ("sign-bit", "length-sign-bit-2-63", "accepted"),
    ("control-size", "ping-ping-126", "accepted"),
    ("control-fragment", "ping-ping-fragmented-1", "accepted"),
    ("lone-continuation", "fragment-lone-continuation", "accepted"),
    ("interleaved", "fragment-text-inside-text", "accepted"),
    ("utf8", "utf8-invalid-surrogate-d800", "accepted"),
    ("utf8", "utf8-early-cut-in-fragments", "accepted"),
    ("utf8", "deflate-bad-utf8", "accepted"),
    ("close-code", "close-bad-code-1005", "accepted"),
    ("close-one-byte", "close-one-byte", "close code"),
    ("close-utf8", "close-bad-reason-fe", "accepted"),
    ("deflate-data", "deflate-bad-data", "accepted"),
    ("deflate-rsv", "deflate-rsv1-continuation", "accepted"),
    ("corrupts", "framing-text-125", "corrupted"),
    ("corrupts", "utf8-valid-mixed", "corrupted"),
    ("corrupts", "deflate-plain-json", "corrupted"),
    ("cuts-long", "framing-binary-65536", "corrupted"),
    ("cuts-long", "limit-text-256k", "corrupted"),
    ("swaps-kind", "framing-text-1", "corrupted"),
    ("loses-fragments", "fragment-text-300-in-3", "corrupted"),
    ("masks", "framing-text-1", "protocol"),
    ("sets-rsv", "ping-text", "protocol"),
    ("long-lengths", "framing-text-125", "protocol"),
    ("wrong-pong", "ping-text", "pong"),
    ("late-pong", "fragment-pong-at-once", "pong"),
    ("pongs-twice", "ping-125", "unexpected"),
    ("answers-pongs", "ping-pong-then-ping", "unexpected"),
    ("wrong-code", "rsv-001-text", "close code"),
    ("wrong-code", "utf8-invalid-fe", "close code"),
    ("hangs", "opcode-4-empty", "accepted"),
    ("harms", "mask-unmasked-binary", "harmed"),
    ("falls", "close-gone-fin", "harmed"),
    ("no-close", "close-empty", "close"),
    ("wrong-close", "close-code-1000", "close code"),
    ("wrong-close", "close-inside-a-message", "close code"),
    ("keeps-tcp", "close-server-ends-tcp", "open"),
    ("goes-on", "close-then-text", "protocol"),
    ("upgrades-all", "open-wrong-no-key", "upgraded"),
    ("upgrades-all", "open-wrong-two-hosts", "upgraded"),
    ("refuses-all", "open-right-plain", "refused"),
    ("refuses-odd", "open-right-lower-case", "refused"),
    ("refuses-odd", "open-right-reversed", "refused"),
    ("wrong-accept", "open-right-plain", "accept"),
    ("chooses", "open-unknown-subprotocols", "subprotocol"),
    ("agrees-all", "offer-invalid-unknown-parameter", "negotiation"),
    ("agrees-all", "offer-server-bits-9", "negotiation"),
    ("wide-window", "deflate-window-9", "protocol"),
    ("keeps-context", "deflate-no-takeover-json", "protocol"),
    ("forgets-context", "deflate-takeover", "lost"),
    ("bad-deflate", "deflate-plain-letters", "corrupted"),
    ("wrong-limit", "limit-endless", "close code"),
    ("slow-to-others", "open-gone", "harmed"),
)
"""Fault, the case that must fail on it, and the kind of finding that it must make."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These servers answer at once or never."""
    monkeypatch.setattr(Exchange, "patience", 1.5)
    monkeypatch.setattr("omega_ai.testkit.conformance.exchange.LINGER", 1.0)
    monkeypatch.setattr("omega_ai.testkit.conformance.exchange.GLANCE", 0.1)


async def put(name: str, *faults: str) -> CaseResult:
    """One case before a server with these faults."""
    case = next(one for one in SUITE if one.id == f"conformance.{name}")
    async with FaultyEcho(*faults) as server:
        return await Runner(Target(server.url, load_profile("echo")), seed=7).run_case(case)


@pytest.mark.parametrize(("fault", "name", "kind"), CATCHES)
async def test_the_fault_is_caught_by_its_case(
    monkeypatch: pytest.MonkeyPatch, fault: str, name: str, kind: str
) -> None:
    """The same case passes where there is no fault, so that it is the fault which it sees."""
    with monkeypatch.context() as once:
        once.setattr("omega_ai.testkit.runner.is_busy", lambda lag_s: False)
        result = await put(name, fault)
    assert result.verdict is Verdict.FAIL, result.finding
    kinds = {finding.kind for finding in result.findings if finding.severity is Severity.FAILURE}
    assert kind in kinds, result.finding
    assert result.evidence
    assert (await put(name)).verdict is Verdict.PASS


def test_every_fault_has_a_case_that_catches_it() -> None:
    """No fault is kept that nothing shows."""
    assert {fault for fault, _, _ in CATCHES} == set(FAULTS)


def test_a_fault_that_does_not_exist_is_an_error_that_says_so() -> None:
    """And which there are."""
    with pytest.raises(ValueError, match="no such fault: nonsense; there are mask"):
        FaultyEcho("nonsense")
