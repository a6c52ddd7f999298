"""Root file systems for images that need no registry, made of what this machine has; see docker_lab."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS = (
    "cat",
    "chmod",
    "date",
    "dd",
    "echo",
    "env",
    "false",
    "id",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sh",
    "sleep",
    "stat",
)
_PROGRAMS += ("sync", "touch", "true", "uname")


class _Tree(io.BytesIO):
    """A tar of a root file system with the least that programs want."""

    def __init__(self) -> None:
        super().__init__()
        self.tar = tarfile.open(fileobj=self, mode="w")
        for name in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/tmp"):
            self.add(name, kind=tarfile.DIRTYPE, mode=0o1777 if name.endswith("tmp") else 0o755)
        self.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        self.add("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        self.add("etc/nsswitch.conf", b"hosts: files dns\n")

    def add(
        self, name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = ""
    ) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
        self.tar.addfile(entry, io.BytesIO(data))

    def finish(self) -> bytes:
        self.tar.close()
        return self.getvalue()


def base_tree() -> bytes:
    """A root without /usr, which is mounted when it is run."""
    tree = _Tree()
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if Path("/usr", name).exists():
            tree.add(name, kind=tarfile.SYMTYPE, link=f"usr/{name}")
    for name in ("ld.so.cache", "alternatives"):
        tree.tar.add(f"/etc/{name}", f"etc/{name}")
    return tree.finish()


@functools.cache
def small_tree() -> bytes:
    """A shell, a few programs and their libraries, and no Python: what a slim image of an application holds."""
    tree = _Tree()
    files = {f"/bin/{name}": shutil.which(name, path=PATH) or name for name in _PROGRAMS}
    listed = subprocess.run(["ldd", *files.values()], capture_output=True, text=True, check=True).stdout
    # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)", and the loader without an arrow
    for word in listed.split():
        if word.startswith("/") and not word.endswith(":"):
            files[word] = word
    for name, source in files.items():
        tree.add(name.lstrip("/"), Path(source).read_bytes(), mode=0o755)
    return tree.finish()
