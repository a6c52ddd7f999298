# SPDX-License-Identifier: MIT
"""One file per service; each has a class `Service`, a `mendbook.sandbox.service.BaseService`."""
