"""Live BTC prices over WebSocket without loss, and a test suite that proves any WebSocket channel reliable.

This module imports nothing, so that the command line starts fast; import the part you need:
``omega_ai.client``, ``omega_ai.data_feed``, ``omega_ai.testkit``.
"""

__version__ = "2.0.0.dev0"
