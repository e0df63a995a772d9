"""What every server that is compared is told on its command line, and the work that all do alike.

Paths: ``/pub`` publishes what it gets, ``/echo`` sends it back, ``/stamp`` parses it as JSON, adds
``received_at`` and sends it back, ``/idle`` does nothing, and every other path subscribes.
"""

from __future__ import annotations

import argparse
import json
import ssl
from datetime import UTC, datetime
from typing import Any


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--deflate", action="store_true")
    return parser.parse_args()


def tls_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    return context


def stamped(text: str | bytes) -> str:
    message: dict[str, Any] = json.loads(text)
    message["received_at"] = datetime.now(UTC).isoformat()
    return json.dumps(message)
