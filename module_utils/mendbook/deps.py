# SPDX-License-Identifier: MIT
"""Optional libraries: import one, or fail with ansible's own words for a missing library."""

from __future__ import annotations

import importlib

from ansible.module_utils.basic import missing_required_lib


def require(module, *names):
    """Import each named library, or end the module naming the first that is missing and where to install it."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            module.fail_json(msg=missing_required_lib(name), exception=str(error))
