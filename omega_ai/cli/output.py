"""Results for machines: JSON to a file, or to standard output alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omega_ai.cli.exit_codes import UsageError

STANDARD_OUTPUT = "-"


def write_json(target: str, data: Any) -> None:
    """Write ``data`` as indented JSON to the file ``target``, or to standard output if it is ``-``.

    Raises:
        UsageError: the file cannot be written.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if target == STANDARD_OUTPUT:
        print(text, flush=True)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--json {target} cannot be written: {error.strerror}.") from None
