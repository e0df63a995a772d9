"""The conformance suite turned round: we are the server, and a client is under test."""
