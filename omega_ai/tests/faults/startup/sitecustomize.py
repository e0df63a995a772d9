"""Runs at the start of each Python process that has this directory in PYTHONPATH."""

from omega_ai.tests.faults.plugin import load

load()
