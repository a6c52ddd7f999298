# SPDX-License-Identifier: MIT
"""What speaks against acting on a plan: pure decisions of the gate, each with its value and the lawful way to go on."""

from __future__ import annotations

import difflib
import json
import re
import shlex

from ansible.module_utils.mendbook.plan import refusal, refusals_in
from ansible.module_utils.parsing.convert_bool import boolean


def guard(plan, *, confirm, variable, hold=False, timeout=0):
    """Return the refusals against acting on ``plan`` now, in the order in which a person should read them.

    ``variable`` is the role's confirmation variable or None, ``hold`` the value of mend_hold after templating,
    ``timeout`` the task's own, in seconds.
    """
    refusals = list(refusals_in(plan))
    if is_held(hold):
        refusals.append(
            refusal(
                "hold",
                f"mend_hold is {hold!r}: the evidence on this host is to be kept",
                hold,
                False,
                "when it has been taken, set mend_hold to false in the inventory",
            )
        )
    if timeout:
        refusals.append(
            refusal(
                "timeout",
                f"the task's timeout of {timeout} s would end the gate and not the module",
                timeout,
                0,
                "take timeout off the task, and ANSIBLE_TASK_TIMEOUT out of the environment",
            )
        )
    if needs_confirmation(plan) and str(confirm or "") != plan["target"]["id"]:
        said = "is not confirmed" if not confirm else f"is not {confirm}, which the confirmation names"
        refusals.append(
            refusal(
                "confirm",
                "the target {} {}".format(plan["target"]["id"], said),
                confirm,
                plan["target"]["id"],
                confirmation(plan, variable),
            )
        )
    return refusals


def needs_confirmation(plan):
    """True when a person must name the target before anything is done."""
    return plan["risk"] == "destroys"


def confirmation(plan, variable):
    """Return how the target of ``plan`` is confirmed: the words to add to the command line, or the option to set."""
    target = plan["target"]["id"]
    if not variable:
        return f"set the option confirm to {json.dumps(target)}"
    # -e splits its k=v form at spaces and quotes
    plain = re.fullmatch(r"[\w@%+:,./-]+", target, re.ASCII)
    return "add -e " + (f"{variable}={target}" if plain else shlex.quote(json.dumps({variable: target})))


def is_held(value):
    """True for an evidence hold. What is neither true nor false holds, too: nobody meant it to let go."""
    try:
        return boolean(value) if value is not None else False
    except TypeError:
        return True


def unknown_variables(role, declared, variables):
    """Return (name, the declared name that was probably meant or None) of every variable that the role does not know.

    Only names that begin with the role's name are the role's; ``variables`` are all names that are set.
    """
    unknown = sorted(name for name in variables if name.startswith(role + "_") and name not in declared)
    return [(name, next(iter(difflib.get_close_matches(name, declared, n=1)), None)) for name in unknown]


def unknown_variables_text(role, unknown):
    """Return the refusal in words."""
    names = ", ".join(f"{name} (did you mean {meant}?)" if meant else name for name, meant in unknown)
    return f"the role {role} has no variable {names}; see ansible-doc -t role {role}"
