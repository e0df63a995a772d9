"""Faults of processes: of any command that is named by its pid, or started by a line. Without privileges.

What can be had: kill and restart, pause (SIGSTOP), a processor that is starved (stopped and let go many times
a second), too few descriptors, too little memory (both by ``prlimit``, Linux), a broker whose every write
takes long (the same starving, of the process beside), a clock that is wrong (where ``libfaketime`` is
installed, for a process that is started with it). What cannot: a slow disk alone, as of a device (it needs a
device mapper or a file system of one's own, and both need root); a wrong clock of a process that runs.
"""

from omega_ai.testkit.process_faults.clock import skewed_environment
from omega_ai.testkit.process_faults.limits import limited, limits_can_be_set
from omega_ai.testkit.process_faults.signals import Starving, alive, children, paused, send

__all__ = [
    "Starving",
    "alive",
    "children",
    "limited",
    "limits_can_be_set",
    "paused",
    "send",
    "skewed_environment",
]
