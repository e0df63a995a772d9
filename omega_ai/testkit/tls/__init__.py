"""What a TLS server shows in its handshake, read and judged by ourselves: ``ssl`` tells little of it."""
