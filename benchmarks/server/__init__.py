"""How fast the server is, against others: ``python -m benchmarks.server --help``."""
