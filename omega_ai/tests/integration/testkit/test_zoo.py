"""The zoo: every faulty server is caught by its case, and no case accuses a right server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import uvloop

from omega_ai.testkit.suites import load_suite
from omega_ai.testkit.zoo.__main__ import page
from omega_ai.testkit.zoo.catalogue import EXHIBITS, RIGHT, Exhibit
from omega_ai.testkit.zoo.client_catalogue import CATCHES
from omega_ai.testkit.zoo.conformance_client import CLIENT_FAULTS
from omega_ai.testkit.zoo.contract import CONTRACT_EXHIBITS
from omega_ai.testkit.zoo.prove import OWN_SUITES, Proof, alarms, find_case, prove, prove_all
from omega_ai.testkit.zoo.proving import Seen

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proofs() -> dict[str, Proof]:
    """All of them, put to the test beside each other; what is left open on a busy machine, again alone."""
    found = {proof.exhibit.name: proof for proof in uvloop.run(prove_all(EXHIBITS, [1], at_once=8))}
    for name, proof in found.items():
        for seed in (2, 3):
            if found[name].caught < found[name].runs:
                found[name] = uvloop.run(prove(proof.exhibit, [seed]))
    return found


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_fault_is_caught(exhibit: Exhibit, proofs: dict[str, Proof]) -> None:
    """By the case that is meant for it, and for the right reason."""
    proof = proofs[exhibit.name]
    assert proof.caught == proof.runs == 1, proof.missed


@pytest.mark.parametrize("exhibit", RIGHT, ids=lambda exhibit: exhibit.name)
def test_a_right_server_raises_no_alarm(exhibit: Exhibit) -> None:
    """In none of all cases that can be put to it."""
    raised = uvloop.run(alarms(exhibit, 1))
    if raised:  # a machine may be too busy to be sure of everything
        again = {case.id for case in uvloop.run(alarms(exhibit, 2))}
        raised = [case for case in raised if case.id in again]
    assert [f"{case.id}: {case.verdict}: {case.finding}" for case in raised] == []


def test_there_are_enough_of_them_and_each_says_what_is_wrong_with_it() -> None:
    """With a name of its own."""
    names = [exhibit.name for exhibit in EXHIBITS]
    assert len(names) == len(set(names)) >= 40
    assert all(exhibit.fault for exhibit in EXHIBITS)


def test_every_case_that_can_fail_on_a_server_of_the_zoo_has_one_that_fails_it() -> None:
    """A case that nothing in the zoo fails is listed here, with the reason."""
    covered = {exhibit.case for exhibit in EXHIBITS}
    every = {case.id for name in OWN_SUITES for case in load_suite(name)}
    assert every - covered == UNCOVERED
    assert all(find_case(case_id).id == case_id for case_id in covered)


UNCOVERED = {
    "broadcast.feed",  # the checkers of fan-out, on messages of the server's own
    "broadcast.late-joiner",  # the checkers of fan-out, after joining
    "broadcast.leavers",  # the checkers of fan-out, while others leave
    "broadcast.sizes",  # the checkers of fan-out, with large messages
    "connectivity.close-empty",  # as connectivity.close
    "connectivity.known-subprotocol",  # the zoo's profile has no subprotocol
    "connectivity.secure",  # tls.certificate has the faults
    "connectivity.unsolicited-pong",  # fails if the connection ends, as connectivity.idle
    "load.fan-out",  # the account of burst, kept between publishers and listeners
    "reconnection.crash",  # needs a server in a process of its own
    "reconnection.restart",  # the same
    "security.ping-flood",  # as security.flood
    "tls.compression",  # OpenSSL is built without it
    "tls.plain-on-secure-port",  # no server of asyncio can be that wrong
    "tls.silent-handshakes",  # as security.silent-connections
}


def test_the_page_of_the_zoo_names_every_exhibit(root: Path) -> None:
    """It is made from the same catalogue, and shows that everything was caught."""
    text = (root / "docs" / "testkit" / "zoo.md").read_text(encoding="utf-8")
    for exhibit in EXHIBITS:
        assert f"| `{exhibit.name}` | {exhibit.fault.rstrip('.')} | `{exhibit.case}` |" in text
    for fault, case, kind in CATCHES:
        assert f"| `{fault}`: {CLIENT_FAULTS[fault]} | `client.{case}` | {kind} |" in text
    for broken in CONTRACT_EXHIBITS:
        assert f"| `{broken.name}` | {broken.fault.rstrip('.')} | `{broken.case}` |" in text
    for heading, proofs in (
        ("# The zoo", EXHIBITS),
        ("## Clients", CATCHES),
        ("## Contracts", CONTRACT_EXHIBITS),
    ):
        part = text.partition(heading)[2].partition("\n## ")[0]
        rows = re.findall(r"\| (\d+) of (\d+) \|$", part, re.MULTILINE)
        assert len(rows) == len(proofs)
        assert f"{sum(caught == runs for caught, runs in rows)} of {len(proofs)} " in part
    assert page(Seen(), 20, 100).splitlines()[1:3] == text.splitlines()[1:3]
