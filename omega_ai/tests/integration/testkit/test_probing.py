"""What probing takes a server for: one that only repeats is no omega.v2, whatever it agrees to."""

from __future__ import annotations

from websockets.asyncio.server import serve

from omega_ai.testkit.probe import Probe, probe
from omega_ai.testkit.profile import Profile
from omega_ai.testkit.target import Target
from omega_ai.tests.integration.testkit.servers import Handler, Repeater, echo


async def found(handler: Handler) -> Probe:
    """What is found at a server that agrees to the first subprotocol that it is offered."""
    async with serve(
        handler, "127.0.0.1", 0, select_subprotocol=lambda _, offered: next(iter(offered), None)
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        return await probe(Target(f"ws://127.0.0.1:{port}/", Profile(name="unknown")), seed=1)


async def test_a_server_that_sends_everything_to_everybody() -> None:
    """It passes on, and that can be checked."""
    seen = await found(Repeater())
    assert seen.profile.name == "broadcast (probed)"
    assert seen.profile.publish is not None
    assert seen.profile.publish.to_sender
    assert "passes a text on to others and back to its sender" in seen.facts


async def test_a_server_that_sends_everything_back() -> None:
    """An echo, whose bytes are the same."""
    seen = await found(echo)
    assert seen.profile.echo is not None
    assert seen.profile.echo.identical
    assert seen.profile.resume is None
