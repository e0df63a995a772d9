"""The conformance suite's parts, without a socket."""
