"""A procedure on a list of names, and a real AnsibleModule to run it in: what the tests of change.py share."""

import json
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook.change import CONFIRM_SPEC, done, run_change
from ansible.module_utils.mendbook.plan import make_plan
from ansible.module_utils.testing import patch_module_args


class Procedure:
    """Acts on names; a test overrides the step that it is about."""

    figures = {"load_seconds": 1.5}

    def __init__(self, names=("a", "b", "c"), **plan):
        self.names, self.plan_facts, self.log = list(names), plan, []

    @contextmanager
    def open(self, params):
        self.log.append("open")
        try:
            yield "client"
        finally:
            self.log.append("closed")

    @contextmanager
    def lock(self, client, run):
        self.log.append(f"lock {run}")
        try:
            yield
        finally:
            self.log.append("unlocked")

    def observe(self, client):
        return list(self.names)

    def plan(self, observed, params):
        facts = {
            "module": "mend_x",
            "target": {"kind": "list", "id": "list:1"},
            "risk": "changes",
            "changes": [{"op": "-", "object": name} for name in observed],
            "identity": None,
            "undo": {"none": "test"},
        }
        return make_plan(**{**facts, **self.plan_facts})

    def act(self, client, plan, receipt):
        for change in plan["changes"]:
            self.names.remove(change["object"])
            yield done("-", change["object"], bytes=1)

    def read_back(self, client, plan):
        return {"left": list(self.names)}


def fails_at(number, error):
    """A procedure whose act raises ``error`` after ``number`` objects."""

    class Failing(Procedure):
        def act(self, client, plan, receipt):
            for position, item in enumerate(super().act(client, plan, receipt)):
                if position == number:
                    raise error
                yield item

    return Failing()


def run(procedure, *, receipt=None, check=False, diff=False, runner=run_change, **options):
    """Run a procedure as a module does and return the result that ansible would get."""
    args = {"receipt": receipt, "_ansible_check_mode": check, "_ansible_diff": diff, **options}
    spec = dict(CONFIRM_SPEC, password={"type": "str", "no_log": True})
    output = StringIO()
    with patch_module_args({name: value for name, value in args.items() if value is not None}):
        module = AnsibleModule(spec, supports_check_mode=True)
        # in a process that has imported the controller's part of ansible, warnings go to the terminal
        warnings = []
        module.warn = warnings.append
        with redirect_stdout(output), pytest.raises(SystemExit):
            runner(module, procedure)
    return {**json.loads(output.getvalue()), "warnings": warnings}


def receipt_for(procedure, **changed):
    """The receipt that the gate would give for what the procedure plans now."""
    plan = procedure.plan(procedure.observe(None), {})
    receipt = {"run": "run-1", "plan_sha256": plan.pop("sha256"), "journal": "f" * 64, "progress": None}
    plan.pop("changes")
    return {**receipt, "plan": plan, **changed}


def act(procedure, **options):
    """Run the procedure with a receipt for just what it plans now."""
    return run(procedure, receipt=receipt_for(procedure), **options)
