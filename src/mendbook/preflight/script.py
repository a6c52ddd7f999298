# SPDX-License-Identifier: MIT
"""What is asked of a host: one POSIX shell script, sent over stdin, that only reads.

It needs no Python there. Its answer are lines ``@@name<TAB>value``; anything else is noise of a login shell, or what
the way to the other user or the interpreter say.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from mendbook.preflight.target import Target

CLOCK_ROUNDS = 3
# What Ansible's modules import; Debian's python3-minimal lacks some of it.
STANDARD = ("json", "zipfile", "tempfile", "subprocess", "hashlib", "pwd")

_PROBE = """
import sys
def say(name, value): print("@@%s\\t%s" % (name, " ".join(str(value).split())[:300]))
say("python", "%d.%d.%d" % sys.version_info[:3])
for name in sys.argv[1].split(","):
    try: __import__(name)
    except Exception: say("no-standard", name)
for name in filter(None, sys.argv[2].split(",")):
    try: module = __import__(name)
    except Exception:
        error = sys.exc_info()[1]
        say("driver", "%s %s %s" % (name, "missing" if name in str(error) else "broken", error))
        continue
    try:
        from importlib.metadata import version
        say("driver", "%s found %s" % (name, version(name)))
    except Exception: say("driver", "%s found %s" % (name, getattr(module, "__version__", "?")))
"""
_SAY = r"""
export LC_ALL=C
say() { printf '@@%s\t%s\n' "$1" "$2"; }
"""
# as the user who logs in: the clock at once, and the interpreter as Ansible finds it
_OUTSIDE = r"""
say begin 1
IFS= read -r secret
round=0
while [ $round -lt $rounds ] && IFS= read -r _; do
    say time "$(date +%s.%N)"
    round=$((round + 1))
done
say uid "$(id -u)"
say user "$(id -un 2>/dev/null)"
say groups "$(id -Gn 2>/dev/null)"
if [ -r /etc/os-release ]; then say os "$(. /etc/os-release; echo "$ID $ID_LIKE")"; fi
case $mend_tmp in '~' | '~/'*) mend_tmp=$HOME${mend_tmp#'~'} ;; esac
say remote-tmp "$mend_tmp"
for name in $candidates; do
    case $mend_python in /*) break ;; esac
    mend_python=$(command -v "$name")
done
mend_python=${mend_python:-/usr/bin/python3}
say python-path "$mend_python"
if [ -n "$become" ]; then
    say become-begin 1
    if [ -n "$secret" ]; then
        # alone at first: a wrong password must not be followed by lines that would be taken for more of them
        printf '%s\n' "$secret" | eval "$become" 2>&1
        code=$?
    else
        code=0
    fi
    if [ $code = 0 ]; then
        { [ -z "$secret" ] || printf '%s\n' "$secret"
          printf '%s\n' @@go "$mend_python" "$mend_tmp" "$inside"; } | eval "$become" 2>&1
        code=$?
    fi
    say become-end $code
    [ $code = 0 ] || eval "$inside"
else
    eval "$inside"
fi
say end 1
"""
# as the user that modules run as
_INSIDE = r"""
say inside "$(id -u)"
$mend_python -B -c "$probe" "$standard" "$drivers" 2>&1 </dev/null
say python-end $?
while [ -n "$mend_tmp" ] && [ ! -e "$mend_tmp" ]; do mend_tmp=${mend_tmp%/*}; done
set --
for folder in / /tmp /var "${mend_tmp:-/}"; do
    [ -d "$folder" ] || continue
    [ -w "$folder" ] || say not-writable "$folder"
    set -- "$@" "$folder"
done
df -Pk "$@" 2>/dev/null | while IFS= read -r line; do say space "$line"; done
df -Pi "$@" 2>/dev/null | while IFS= read -r line; do say inodes "$line"; done
while read -r _ folder _ options _; do
    if [ "$folder" = / ]; then say root "$options"; fi
done 2>/dev/null </proc/self/mounts
"""


def command(text: str) -> str:
    """The command line that runs ``text`` when it comes in over stdin: short, and the same for every login shell."""
    return f"""/bin/sh -c 'eval "$(dd bs=1 count={len(text.encode())} 2>/dev/null)"'"""


def text(target: Target, drivers: Iterable[str], rounds: int = CLOCK_ROUNDS) -> str:
    """The script for this host. After it stdin takes one line, the password of become or nothing, and one per round."""
    inside = _assigned(probe=_PROBE, standard=",".join(STANDARD), drivers=",".join(drivers)) + _SAY + _INSIDE
    told = _assigned(
        rounds=str(rounds),
        mend_python=target.interpreter or "",
        # an interpreter that is given is not looked for
        candidates="" if target.interpreter else " ".join(target.candidates),
        mend_tmp=target.remote_tmp,
        become=target.become.command if target.become else "",
        inside=inside,
    )
    return told + _SAY + _OUTSIDE


def _assigned(**values: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
