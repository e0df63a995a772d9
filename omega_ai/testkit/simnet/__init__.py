"""A network in virtual time: the same asyncio code, hours in seconds, the same run for the same seed.

``SimLoop`` is an event loop whose clock jumps to the next thing that is due; ``Network`` gives it connections
between named hosts, without sockets, with links that can be slow, narrow, cut, half-open, or full of faults;
``Process`` is what can be killed and paused. ``simulate`` puts them together::

    def test_it_comes_back():
        async def scene(sim):
            server = sim.process("server")
            await server.run(serve())          # unchanged code: loop.create_server("server", 80)
            ...
        simulate(scene, seed=7)
"""

from omega_ai.testkit.simnet.loop import Deadlock, SimClock, SimLoop, Stuck
from omega_ai.testkit.simnet.network import Link, Network
from omega_ai.testkit.simnet.process import Process
from omega_ai.testkit.simnet.running import Simulation, simulate

__all__ = [
    "Deadlock",
    "Link",
    "Network",
    "Process",
    "SimClock",
    "SimLoop",
    "Simulation",
    "Stuck",
    "simulate",
]
