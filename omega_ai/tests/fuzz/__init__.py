"""Fuzzing: any bytes into what reads bytes from strangers. ``python -m omega_ai.tests.fuzz --help``."""
