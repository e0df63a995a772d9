"""The contract of a server: read, and messages made from it."""
