"""Echo servers that differ: each is put before both judges."""
