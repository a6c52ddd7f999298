# SPDX-License-Identifier: MIT
"""The ``mendbook`` command."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # importing makes no garbage; looking for it costs `list` a twentieth of its time
    gc.set_threshold(50_000)
    from mendbook.cli import command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
