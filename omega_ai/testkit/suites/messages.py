"""Does what is sent come back whole, once, in order and in time?"""

from __future__ import annotations

from omega_ai.testkit.case import Suite

SUITE = Suite("messages", "Messages come back whole, once, in order, in time")
