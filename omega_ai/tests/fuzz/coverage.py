"""One target under atheris, which prefers inputs that reach code not reached before.

``python -m omega_ai.tests.fuzz.coverage TARGET CORPUS -max_total_time=60 -seed=1``: started by ``__main__``,
one process a target, since libFuzzer ends its process. Options are libFuzzer's.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Never returns: libFuzzer exits, with 77 if an input was found that makes the target fail."""
    import atheris

    name, corpus, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["omega_ai"], exclude=["omega_ai.tests"]):
        from omega_ai.tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    directory = Path(corpus)
    for number, seed in enumerate(target.seeds):
        (directory / f"seed-{number:02}").write_bytes(seed)
    words = directory.parent / f"{name}.words"
    words.write_text(
        "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words)
    )
    atheris.Setup([sys.argv[0], str(directory), f"-dict={words}", "-max_len=8192", *arguments], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
