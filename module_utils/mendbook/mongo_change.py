# SPDX-License-Identifier: MIT
"""What every change of one MongoDB database begins with: the connection, and the lock in the database itself."""

from __future__ import annotations

from contextlib import contextmanager

from . import mongo_options
from .lock import MongoLease
from .mongo import connect, refuse_unfit


class MongoChange:
    """The beginning of a procedure (change.py); the client that ``open`` gives has a ``database``."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self.warnings = []
        self._lease = None

    def secrets(self, params):
        """Texts that no output may show beside the options that ansible hides by itself."""
        return mongo_options.secrets_in(params)

    @contextmanager
    def connected(self, params):
        """Give the deployment, under this run's name; refuse one that cannot be changed."""
        with connect(params, (params.get("receipt") or {}).get("run")) as deployment:
            refuse_unfit(deployment)
            yield deployment

    @contextmanager
    def lock(self, client, run):
        """Hold the lease on the database."""
        with MongoLease(client.database, run) as lease:
            self._lease = lease
            yield
