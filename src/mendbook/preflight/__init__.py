# SPDX-License-Identifier: MIT
"""``mendbook preflight``: what a run would stumble over, found on every host at once and before Ansible starts.

``ansible_side`` asks Ansible how each host is reached; ``fleet`` looks at all of them (``ssh``, ``session``,
``endpoint``) and gathers facts; ``judge_reach`` and ``judge_host`` are pure and turn those into findings; ``report``
shows them.
"""
