"""The suite from a contract, against servers that keep it and that break it."""
