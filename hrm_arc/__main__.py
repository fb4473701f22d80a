"""The ``hrm`` command, also as ``python -m hrm_arc``."""

from __future__ import annotations

import sys
from typing import NoReturn


def entry() -> NoReturn:
    """Run the command line; Ctrl-C while it is loaded ends the process without a traceback."""
    try:
        from hrm_arc.cli.main import entry as loaded
    except KeyboardInterrupt:
        sys.exit(130)
    loaded()


if __name__ == "__main__":
    entry()
