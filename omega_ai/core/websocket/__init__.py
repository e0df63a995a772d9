"""WebSocket as RFC 6455 and RFC 7692 have it: the engine that server, client and test kit share.

``frames``, ``close``, ``assembler``, ``deflate`` and ``handshake`` do no input or output; ``endpoint`` is one
side of a connection, strict in what it takes and in how it closes; the other modules put it on a transport.
"""
