"""What is read of TLS handshakes, and how it is judged."""
