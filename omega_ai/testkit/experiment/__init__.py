"""Experiments: a steady state, faults on a timeline, recovery; on real sockets or in virtual time.

``model`` says what an experiment is, ``running`` runs one, ``judging`` judges it, ``world`` is where it
happens. Those that are built in are TOML files in ``experiments/``.
"""
