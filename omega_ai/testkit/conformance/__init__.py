"""Our own conformance suite for RFC 6455 and RFC 7692: raw frames out, every byte back judged."""
