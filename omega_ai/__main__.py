"""``python -m omega_ai`` is ``omega``."""

from omega_ai.cli.app import main

if __name__ == "__main__":
    raise SystemExit(main())
