"""Load from many clients, on schedule, with every message checked and timed.

``plan`` says what is to be done, ``shapes`` at which times, ``engine`` does it, ``tally`` holds what was
seen.
"""
