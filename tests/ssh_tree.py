"""The root file system of one SSH host, as a tar: small folders of its own beside this machine's /usr."""

from __future__ import annotations

import io
import tarfile
from functools import cache
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

USER = "ops"
HOST_KEY = "/etc/ssh/lab_host_key"

_FOLDERS = {
    "dev": 0o755, "dev/pts": 0o755, "dev/shm": 0o1777, "etc": 0o755, "etc/pam.d": 0o755, "etc/ssh": 0o755,
    "etc/sudoers.d": 0o755, "home": 0o755, "opt": 0o755, "proc": 0o555, "root": 0o700, "root/.ssh": 0o700,
    "run": 0o755, "run/sshd": 0o755, "srv": 0o755, "tmp": 0o1777, "usr": 0o755, "var": 0o755, "var/cache": 0o755,
    "var/lib": 0o755, "var/log": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
_LINKS = {
    "bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "dev/fd": "/proc/self/fd",
    "dev/stdin": "/proc/self/fd/0", "dev/stdout": "/proc/self/fd/1", "dev/stderr": "/proc/self/fd/2",
    "dev/ptmx": "pts/ptmx", "var/run": "/run",
}  # fmt: skip
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    f"sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n{USER}:x:1000:1000::/home/{USER}:/bin/bash\n",
    "etc/group": f"root:x:0:\nadm:x:4:\nnogroup:x:65534:\n{USER}:x:1000:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="a host of the tests"\n',
    "etc/ssh/lab_config": f"HostKey {HOST_KEY}\nPidFile /run/sshd.pid\nUsePAM no\nPasswordAuthentication no\n"
    "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 200\nUseDNS no\n"
    "Subsystem sftp internal-sftp\nAcceptEnv LANG LC_*\n",
    "etc/pam.d/sudo": "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
}
_SECRETS = {
    "etc/shadow": f"root:*:19000::::::\n{USER}:*:19000::::::\n",
    "etc/sudoers": f"root ALL=(ALL:ALL) ALL\n{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n@includedir /etc/sudoers.d\n",
}


def key_pair() -> tuple[str, str]:
    """A new ed25519 key as OpenSSH writes it: (private file, public line)."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(), public


def host_tree(name: str, hosts: str, authorized: str, host_key: str) -> bytes:
    """A tar of what tells one host from another, and of what all have: ``hosts`` is its /etc/hosts."""
    own = {"etc/hostname": f"{name}\n", "etc/machine-id": f"{uuid4().hex}\n", "etc/hosts": hosts}
    buffer = io.BytesIO(_same_for_all())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for path, text in own.items():
            _add_file(tar, path, text, 0o644)
        _add_file(tar, HOST_KEY[1:], host_key, 0o600)
        _add_file(tar, "root/.ssh/authorized_keys", f"{authorized}\n", 0o600)
        for folder in (f"home/{USER}", f"home/{USER}/.ssh"):
            _add(tar, folder, tarfile.DIRTYPE, 0o700, owner=1000)
        _add_file(tar, f"home/{USER}/.ssh/authorized_keys", f"{authorized}\n", 0o600, owner=1000)
    return buffer.getvalue()


@cache
def _same_for_all() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, mode in _FOLDERS.items():
            _add(tar, path, tarfile.DIRTYPE, mode)
        for path, target in _LINKS.items():
            _add(tar, path, tarfile.SYMTYPE, 0o777, linkname=target)
        for name, (major, minor) in _DEVICES.items():
            _add(tar, f"dev/{name}", tarfile.CHRTYPE, 0o666, devmajor=major, devminor=minor)
        for path, text in _FILES.items():
            _add_file(tar, path, text, 0o644)
        for path, text in _SECRETS.items():
            _add_file(tar, path, text, 0o440)
        # programs of /usr are found through these
        for path in ("etc/ld.so.cache", "etc/alternatives"):
            if Path("/", path).exists():
                tar.add(Path("/", path), path)
    return buffer.getvalue()


def _add_file(tar: tarfile.TarFile, path: str, text: str, mode: int, owner: int = 0) -> None:
    _add(tar, path, tarfile.REGTYPE, mode, text.encode(), owner)


def _add(
    tar: tarfile.TarFile, path: str, kind: bytes, mode: int, content: bytes = b"", owner: int = 0, **fields: object
) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size = kind, mode, len(content)
    entry.uid = entry.gid = owner
    for field, value in fields.items():
        setattr(entry, field, value)
    tar.addfile(entry, io.BytesIO(content))
