# SPDX-License-Identifier: MIT
"""The way through a bastion, ``ssh://[user@]host[:port][?config=/path]``, as the user's ssh would go it.

Host, user, port, keys, ProxyJump and known_hosts come from ~/.ssh/config, or from the file that ``config`` names; keys
also from the agent. Who is not in known_hosts is not trusted, whatever that file says about it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
from urllib.parse import parse_qs, urlsplit

from .errors import MendError

try:
    import paramiko
except ImportError as missing:
    raise MendError(
        "via ssh:// needs the Python library paramiko where the module runs (Debian: python3-paramiko)", rule="via"
    ) from missing

# so often a silent bastion is asked whether it is still there, and so long it may owe the answer
_KEEPALIVE_SECONDS = 5
_SILENCE_SECONDS = 15
_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"


@contextlib.contextmanager
def carrier(parts, seconds):
    """Log in to the bastion of a split URL; give what `reach` dials with."""
    # what goes wrong is said once, in our words
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    config = _config(parts)
    with contextlib.ExitStack() as stack:
        yield _Bastion(*_login(stack, config, parts, seconds), seconds)


class _Bastion:
    def __init__(self, name, client, seconds):
        self.name = name
        self._transport = client.get_transport()
        self._seconds = seconds

    def lost(self):
        # its channels end before it says of itself that it is over, and whoever waited for one of them asks at once
        cut = isinstance(self._transport.saved_exception, (EOFError, OSError))
        return f"the connection to the {self.name} was lost" if cut or not self._transport.is_active() else None

    def run(self, command):
        """Start a command there; a channel to its standard input and output."""
        try:
            channel = self._transport.open_session(timeout=self._seconds)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            words = self.lost() or f"the {self.name} runs no commands for this user: {error}"
            raise MendError(words, rule="via_lost") from None
        return channel

    def dial(self, host, port):
        return _dial(self._transport, self.name, host, port, self._seconds)


def _dial(transport, name, host, port, seconds):
    where = f"{host}:{port}"
    try:
        return transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=seconds)
    except paramiko.ChannelException as error:
        if error.code == 1:
            said = "it forwards nothing for this user (AllowTcpForwarding, PermitOpen)"
        else:
            # sshd tells no more
            said = f"{error.text}: nothing listens there, or it does not know the name"
        raise MendError(f"the {name} cannot reach {where}: {said}", rule="via_forward") from None
    except (paramiko.SSHException, EOFError, OSError):
        if transport.is_active():
            raise MendError(f"the {name} got no answer from {where} in {seconds:g} s", rule="via_forward") from None
        raise MendError(f"the connection to the {name} was lost", rule="via_lost") from None


def _login(stack, config, parts, seconds, jump=None, asked=()):
    """Return (name, client) of a bastion, which is reached over ``jump``, or over those that its ProxyJump names.

    ``asked`` are those for whose sake it is logged in to.
    """
    if parts.hostname in asked:
        circle = ", ".join([*asked, parts.hostname])
        raise MendError(f"via: ProxyJump leads in a circle: {circle}", rule="via_config")
    found = _lookup(config, parts.hostname)
    user, port = parts.username or found.get("user"), parts.port or int(found.get("port", 22))
    host = found["hostname"]
    name = "bastion " + (f"{user}@" if user else "") + (parts.hostname if port == 22 else f"{parts.hostname}:{port}")
    if found.get("proxycommand", "none") != "none":
        raise MendError(f"via: the {name} has a ProxyCommand, which is not supported; ProxyJump is", rule="via_config")
    if jump is None:
        for hop in map(_hop, found.get("proxyjump", "none").split(",")):
            if hop.hostname not in ("none", parts.hostname):
                jump = _login(stack, config, hop, seconds, jump, (*asked, parts.hostname))
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Reject())
    for path in _known_hosts(found):
        with contextlib.suppress(FileNotFoundError):
            client.load_system_host_keys(path)
    if jump:
        wire = _dial(jump[1].get_transport(), jump[0], host, port, seconds)
    else:
        wire = _connect(name, host, port, seconds)
    stack.callback(wire.close)
    stack.callback(_log_out, client)
    only = found.get("identitiesonly", "no") == "yes"
    keys = [os.path.expanduser(path) for path in found.get("identityfile", [])]
    # as known_hosts has it, which an alias is in without a port; the connection itself is there already
    known, its_port = (found["hostkeyalias"], 22) if "hostkeyalias" in found else (host, port)
    with _in_words(name, known if its_port == 22 else f"[{known}]:{its_port}", seconds):
        client.connect(
            known,
            its_port,
            user,
            sock=wire,
            key_filename=[path for path in keys if os.path.exists(path)],
            allow_agent=not only,
            look_for_keys=not keys,
            timeout=seconds,
            banner_timeout=seconds,
            auth_timeout=seconds,
        )
    client.get_transport().set_keepalive(_KEEPALIVE_SECONDS)
    return name, client


def _log_out(client):
    transport = client.get_transport()
    client.close()
    if transport:
        transport.join(_SILENCE_SECONDS)


def _config(parts):
    """Return the file with the configuration that counts: that of the URL, else the user's own where there is one."""
    given = parse_qs(parts.query)
    if not parts.hostname or parts.password or parts.path not in ("", "/") or set(given) - {"config"}:
        raise MendError("via must be like ssh://user@bastion:22 or ssh://bastion?config=/path/ssh_config", rule="via")
    path = given["config"][0] if given else os.path.expanduser("~/.ssh/config")
    return path if given or os.path.exists(path) else None


def _lookup(config, host):
    """Return the settings for a host as ssh itself says them, which knows Include and Match; without it, paramiko's."""
    with _config_in_words():
        program = shutil.which("ssh")
        if program is None:
            return (paramiko.SSHConfig.from_path(config) if config else paramiko.SSHConfig()).lookup(host)
        words = [program, *(["-F", config] if config else []), "-G", "--", host]
        done = subprocess.run(  # noqa: S603
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SILENCE_SECONDS, check=False
        )
        if done.returncode:
            raise OSError((done.stderr.strip().splitlines() or [f"ssh -G ended with {done.returncode}"])[-1])
        return paramiko.SSHConfig.from_text("Host *\n" + done.stdout).lookup(host)


@contextlib.contextmanager
def _config_in_words():
    try:
        yield
    except (OSError, ImportError, paramiko.SSHException, subprocess.TimeoutExpired) as error:
        raise MendError(f"via: the configuration of ssh cannot be read: {error}", rule="via_config") from None


def _hop(text):
    return urlsplit(text if "://" in text else f"//{text.strip()}")


def _known_hosts(found):
    named = [found.get("userknownhostsfile", _KNOWN_HOSTS), found.get("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS)]
    return [os.path.expanduser(path) for path in " ".join(named).split() if path != "none"]


def _connect(name, host, port, seconds):
    """Return a connection that notices when nobody is left at its other end."""
    try:
        wire = socket.create_connection((host, port), timeout=seconds)
    except socket.gaierror:
        raise MendError(
            f"the name of the {name} cannot be resolved: check via and the resolver of this machine", rule="via_name"
        ) from None
    except socket.timeout:
        raise MendError(
            f"the {name} does not answer in {seconds:g} s: check the network and the firewall", rule="via_timeout"
        ) from None
    except ConnectionRefusedError:
        raise MendError(
            f"nothing listens on the {name}: check host and port, and that its sshd runs", rule="via_refused"
        ) from None
    except OSError as error:
        raise MendError(f"no way to the {name}: {error.strerror or error}", rule="via_unreachable") from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _SILENCE_SECONDS)
    return wire


class _Reject(paramiko.RejectPolicy):
    """Whoever is not in known_hosts is turned away, and his key is shown."""

    def missing_host_key(self, client, hostname, key):
        raise MendError(
            f"the host key of {hostname} is not known here: it shows {key.get_name()} {key.fingerprint}. Compare that "
            "with the host's own, then log in once by ssh, or add the key to known_hosts",
            rule="via_host_key_unknown",
        )


@contextlib.contextmanager
def _in_words(name, known_as, seconds):
    """Turn what paramiko raises at a login into a `MendError`; ``known_as`` is the host's name in known_hosts."""
    try:
        yield
    except paramiko.BadHostKeyException as error:
        raise MendError(
            f"the host key of {known_as} has changed: known_hosts has {error.expected_key.get_name()} "
            f"{error.expected_key.fingerprint}, it shows {error.key.get_name()} {error.key.fingerprint}. It was "
            f"installed anew, or somebody stands in between: find out, then ssh-keygen -R '{known_as}'",
            rule="via_host_key_changed",
        ) from None
    except paramiko.PasswordRequiredException:
        raise MendError(
            f"login to the {name}: its key has a passphrase: load it into an agent (ssh-add)", rule="via_login"
        ) from None
    except paramiko.AuthenticationException as error:
        raise _refused(name, error) from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        if "No authentication methods" in str(error):
            raise _refused(name, "there is no key to show") from None
        if "banner" in str(error):
            words = f"what answers there within {seconds:g} s is not an SSH server"
        else:
            words = str(error) or "the connection was closed"
        raise MendError(f"login to the {name}: {words}", rule="via_protocol") from None


def _refused(name, said):
    return MendError(
        f"login to the {name} was refused ({said}): check the user, and that its authorized_keys has a key of your "
        "agent or of an IdentityFile in ~/.ssh/config",
        rule="via_login",
    )
