"""Run ansible-lint (profile production, see .ansible-lint) so that it can import our modules.

Without mendbook's module_utils on the path of ``ansible.module_utils`` the rule ``args[module]`` gives up on every
file that holds one of our tasks, and says nothing about wrong arguments of any module in it.
"""

import sys
from pathlib import Path

import ansible.module_utils
from ansiblelint.__main__ import main

ansible.module_utils.__path__.append(str(Path(__file__).resolve().parent.parent / "module_utils"))

if __name__ == "__main__":
    sys.exit(main(["ansible-lint", "--quiet", *sys.argv[1:]]))
