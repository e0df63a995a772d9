"""Finding out what a client does before it is judged: does it come, and does it send back what it is sent?"""

from __future__ import annotations

import asyncio
from typing import Final

from omega_ai.testkit.conformance.clients.arrivals import Arrivals
from omega_ai.testkit.conformance.clients.caller import Caller, response, right_answer
from omega_ai.testkit.conformance.frames import CLOSE, TEXT, close_body, frame
from omega_ai.testkit.profile import Profile, load_profile
from omega_ai.testkit.target import Target

FIRST_S: Final = 60.0
"""Seconds for the first client to come."""
ECHO_S: Final = 5.0
HELLO: Final = b"do you send this back?"


async def meet(arrivals: Arrivals) -> Target:
    """Wait for the first client, and see what it is.

    Raises:
        NoClient: none came.
    """
    caller = await arrivals.next(FIRST_S)
    agent = next(iter(caller.values("user-agent")), None)
    echoes = await _echoes(caller)
    arrivals.release(caller)
    facts = ["it sends back what it is sent" if echoes else "it does not send back what it is sent"]
    if caller.offers:
        facts.append(f"it offers {caller.offers}")
    limits = () if echoes else ("whether messages arrive whole: for that, it has to send them back",)
    profile = load_profile("echo") if echoes else Profile(name="client")
    return Target(arrivals.url, profile, facts=tuple(facts), limits=limits, server=agent, clients=arrivals)


async def _echoes(caller: Caller) -> bool:
    caller.answer(response(right_answer(caller)))
    caller.send_frame(frame(TEXT, HELLO, mask=None))
    messages = caller.reader.messages
    await caller.until(lambda: messages or caller.over, ECHO_S)
    caller.send_frame(frame(CLOSE, close_body(1000), mask=None))
    await caller.until(lambda: caller.over, ECHO_S)
    await asyncio.sleep(0)
    return any(one.data == HELLO for one in messages)
