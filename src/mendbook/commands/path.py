# SPDX-License-Identifier: MIT
"""``mendbook path``: where the content is, for ``ANSIBLE_CONFIG``."""

from __future__ import annotations

import click

from mendbook.content import content_root


@click.command("path")
def command() -> None:
    """Print the folder of the content: ANSIBLE_CONFIG="$(mendbook path)/ansible.cfg" ansible-playbook ..."""
    click.echo(content_root())
