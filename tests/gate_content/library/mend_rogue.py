#!/usr/bin/python
"""For tests: a module that is named like ours and knows nothing of plans; it changes without a receipt."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC = {"path": {"type": "path", "required": True}}


def main():
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    if not module.check_mode:
        open(module.params["path"], "w").close()
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
