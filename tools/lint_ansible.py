"""Run ansible-lint (profile production, see .ansible-lint) so that it can import our modules.

Without mendbook's module_utils on the path of ``ansible.module_utils`` the rule ``args[module]`` gives up on every
file that holds one of our tasks, and says nothing about wrong arguments of any module in it.
"""

import os
import sys
from pathlib import Path

import ansible.module_utils
from ansiblelint.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
# its syntax check takes the inventory from here; ansible.cfg names none, and a run without one is a failure
os.environ.setdefault("ANSIBLE_INVENTORY", str(ROOT / "inventory" / "example"))

if __name__ == "__main__":
    sys.exit(main(["ansible-lint", "-q", *sys.argv[1:]]))
