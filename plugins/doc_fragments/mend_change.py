# SPDX-License-Identifier: MIT
"""The options of every changing module; ARGUMENT_SPEC has them from change.CHANGE_SPEC and change.CONFIRM_SPEC."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  receipt:
    description:
      - Set by mendbook's gate when the plan may be carried out; a playbook that sets it is refused.
      - Without it the module plans and does not act.
    type: dict
attributes:
  check_mode:
    description: In check mode nothing is changed and no lock is taken; the result is the plan.
    support: full
  diff_mode:
    description: The changes of the plan, a line each.
    support: full
"""

    CONFIRM = r"""
options:
  confirm:
    description:
      - The id of the target, as the plan prints it, to say that this target is meant.
      - Needed when something is destroyed, and only to act, never in check mode.
    type: str
"""
