"""The whole feed under faults: every message published, against every message that each client saw.

``python -m omega_ai.tests.faults`` (``make faults``) starts a real feed (two ingest processes, edges with and
without workers, a Redis), lets clients and publishers talk to it and disturbs all of it at random, seeded
moments. Afterwards nothing may be lost, doubled, reordered or unexplained.
"""
