# SPDX-License-Identifier: MIT
"""Questions to the kernel that it may never answer are asked in child processes, which can be given up.

A look at a dead NFS server or a dying disk waits in the kernel where no signal reaches it. A thread would keep its
process from ending; a child is left behind, holds nothing that anybody waits for, and ends when the kernel answers.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import time

# what a child that says nothing any more is taken to have said
SILENT = object()


def ask(works, patience_seconds):
    """Run the generators that these functions return, each in its child; yield (name, answer) as answers come.

    ``works`` is {name: function}; what they yield must be JSON. A child that says nothing for so long is given up, and
    one that ends before it is done, too: both yield (name, SILENT).
    """
    children = {name: _Child(work) for name, work in works.items()}
    selector = selectors.DefaultSelector()
    try:
        for name, child in children.items():
            selector.register(child.reader, selectors.EVENT_READ, name)
            child.give_up_at = time.monotonic() + patience_seconds
        while children:
            soonest = min(child.give_up_at for child in children.values())
            # by the time of before: what was said while this process itself stood still is heard first
            now = time.monotonic()
            for key, _ in selector.select(max(0, soonest - now)):
                child = children[key.data]
                child.give_up_at = time.monotonic() + patience_seconds
                for answer in child.read():
                    yield key.data, answer
            for name, child in list(children.items()):
                if child.is_done or now >= child.give_up_at:
                    selector.unregister(child.reader)
                    children.pop(name).end()
                    if not child.is_whole:
                        yield name, SILENT
    finally:
        selector.close()
        for child in children.values():
            child.end()


class _Child:
    """A process that runs one generator and writes what it yields, a line for each and an empty one at the end."""

    def __init__(self, work):
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _run(work, self.reader, writer)
        os.close(writer)
        self.is_done = self.is_whole = False
        self.give_up_at = 0.0
        self._rest = b""

    def read(self):
        """Return the answers that have come."""
        part = os.read(self.reader, 1 << 20)
        *lines, self._rest = (self._rest + part).split(b"\n")
        self.is_whole = b"" in lines
        self.is_done = self.is_whole or not part
        return [json.loads(line) for line in lines if line]

    def end(self):
        os.close(self.reader)
        os.kill(self.pid, signal.SIGKILL)
        # one that waits in the kernel is not waited for
        deadline = time.monotonic() + 0.2
        while not os.waitpid(self.pid, os.WNOHANG)[0] and time.monotonic() < deadline:
            time.sleep(0.001)


def _run(work, reader, writer):
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # whoever has started the module waits until nobody holds its output any more
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.close(reader)
        for answer in work():
            _write(writer, json.dumps(answer).encode() + b"\n")
        _write(writer, b"\n")
        code = 0
    finally:
        os._exit(code)


def _write(writer, data):
    while data:
        data = data[os.write(writer, data) :]
