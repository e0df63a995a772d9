"""Faulty servers, one fault each: the proof that the test kit finds what it says it finds.

``site`` is a right server; every fault is a small change to it. ``catalogue`` lists them, with the case that
must catch each; ``prove`` runs them. The right server must pass every case.
"""
