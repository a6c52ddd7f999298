"""For tests: the local connection, lost for good after as many commands as the host's variable says."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: breaking
short_description: Lose the connection
description: The local connection until it breaks.
options:
  lasts:
    description: How many commands it lasts.
    type: int
    default: 1
    vars: [{name: breaking_lasts}]
extends_documentation_fragment: [connection_pipelining]
"""


class Connection(LocalConnection):
    transport = "breaking"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        self.commands = getattr(self, "commands", 0) + 1
        answer = super().exec_command(cmd, in_data, sudoable)
        if self.commands > self.get_option("lasts"):
            raise AnsibleConnectionFailure("the line is dead")
        return answer
