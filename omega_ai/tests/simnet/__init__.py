"""The feed itself in virtual time: servers, clients and broker of ours, unchanged, on ``testkit.simnet``.

``python -m omega_ai.tests.simnet --hours 5`` lives through hours of chaos in minutes; a seed that fails is
printed, and replays exactly.
"""
