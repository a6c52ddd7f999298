# SPDX-License-Identifier: MIT
"""The ``mendbook`` command."""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # importing makes no garbage; looking for it costs `list` a twentieth of its time
    gc.set_threshold(50_000)
    from mendbook.cli import command_line

    code = command_line()
    # all is said: an interrupt that comes now must not turn the exit code into another one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    main()
