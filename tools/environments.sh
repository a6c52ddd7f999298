#!/usr/bin/env bash
# Make the Python environments that make's targets use; a second call with nothing changed takes no time.
#
#   tools/environments.sh sandbox     .venv with mendbook (editable) and the sandbox's servers
#   tools/environments.sh dev         the same and what tests and checks need
#   tools/environments.sh other-core  a second environment with the supported ansible-core that .venv does not have;
#                                     prints the export line that tells the tests where it is, or nothing when no
#                                     installed Python can run it (the tests then say so)
#   tools/environments.sh collections .venv-collections: the collections of the `ansible` bundle without its programs,
#                                     for the tests that work in containers (with ANSIBLE_COLLECTIONS_PATH)
#
# Words for people go to stderr. MENDBOOK_PYTHON names the interpreter to use. Debian packages are installed only
# by root and with MENDBOOK_INSTALL_PACKAGES=yes (as .ci/run does); otherwise what is missing is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
export HOME="${HOME:-$root}"
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV
# pip's settings for a company's mirror and certificate hold for uv, too
[ -n "${PIP_CERT:-}" ] && export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
[ -n "${PIP_INDEX_URL:-}" ] && export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"

say() { printf 'mendbook: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

packages() { # packages NAME...: install them where that is allowed, otherwise say the command
    if [ "${MENDBOOK_INSTALL_PACKAGES:-}" = yes ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $*"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >&2
    else
        die "missing on this machine: $*. Install: ${SUDO-sudo }apt-get install $*"
    fi
}
[ "$(id -u)" = 0 ] && SUDO=''

# A version manager's shim answers to a name without being an interpreter, so each candidate must prove itself.
real_python() { # real_python CANDIDATE MINOR: print the interpreter behind it when it is Python 3.MINOR or newer
    "$1" -c "import sys; sys.version_info >= (3, $2) or sys.exit(1); print(getattr(sys, '_base_executable', sys.executable))" 2>/dev/null
}

find_python() { # find_python MINOR NAME...: the first of these, then any version manager's, that is new enough
    local minor=$1 candidate folder
    shift
    for candidate in "$@"; do
        [ -n "$candidate" ] && real_python "$candidate" "$minor" && return
    done
    for folder in "${PYENV_ROOT:-}" "$HOME/.pyenv" $(tr : '\n' <<<"$PATH" | sed -n 's|/shims/*$||p'); do
        for candidate in "$folder"/versions/3.*/bin/python3; do
            real_python "$candidate" "$minor" && return
        done
    done
    candidate=$("${uv:-uv}" python find --no-python-downloads ">=3.$minor" 2>/dev/null) && real_python "$candidate" "$minor"
}

find_uv() {
    local candidate
    for candidate in uv "$HOME/.local/bin/uv" "$root/.venv/bin/uv"; do
        "$candidate" --version >/dev/null 2>&1 && command -v "$candidate" && return
    done
}

make_venv() { # make_venv FOLDER PYTHON: an environment whose interpreter runs, and $uv to fill it
    if ! "$1/bin/python" -c 'import sys' 2>/dev/null; then
        if [ -e "$1" ] && [ ! -e "$1/pyvenv.cfg" ] && [ ! -L "$1/bin/python" ]; then
            die "$1 is in the way and is not an environment"
        fi
        rm -rf "$1"
        if [ -n "$uv" ]; then
            "$uv" venv --quiet --python "$2" "$1"
        else
            "$2" -c 'import ensurepip' 2>/dev/null || packages python3-venv
            "$2" -m venv "$1"
        fi
    fi
    if [ -z "$uv" ]; then
        "$1/bin/python" -m pip install -qq --disable-pip-version-check uv
        uv=$root/$1/bin/uv
    fi
}

key() { # key WORD...: what an environment was made from; any change makes it again
    { cat pyproject.toml tools/environments.sh; printf '%s\n' "$root" "$@"; } | sha256sum | cut -d' ' -f1
}

fresh() { # fresh FOLDER STAMP KEY: the environment runs and was made from just this
    [ "$(cat "$2" 2>/dev/null)" = "$3" ] && "$1/bin/python" -c '' 2>/dev/null
}

fill() { # fill FOLDER REQUIREMENT...
    local folder=$1
    shift
    "$uv" pip install --quiet --python "$folder/bin/python" --compile-bytecode "$@" >&2
}

main_environment() { # main_environment EXTRAS
    local stamp=.venv/.mendbook-$1 wanted python extras=sandbox
    [ "$1" = dev ] && extras=sandbox,dev
    wanted=$(key "$1")
    if fresh .venv "$stamp" "$wanted"; then return; fi
    # the one for tests holds all that the sandbox needs
    if [ "$1" = sandbox ] && fresh .venv .venv/.mendbook-dev "$(key dev)"; then return; fi
    python=$(find_python 11 "${MENDBOOK_PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14) ||
        die "no Python 3.11 or newer found (name one with MENDBOOK_PYTHON=/path/to/python3)"
    say "making .venv with mendbook[$extras], $("$python" --version) (a few minutes the first time)"
    make_venv .venv "$python"
    fill .venv --editable ".[$extras]"
    echo "$wanted" >"$stamp"
}

server_libraries() { # the sandbox's mongod links libraries of the system: name them instead of a loader error
    local mongod missing
    mongod=$(echo .venv/lib/python3*/site-packages/fiftyone/db/bin/mongod)
    [ -x "$mongod" ] && command -v ldd >/dev/null || return 0
    missing=$(ldd "$mongod" | sed -n -e 's/.*libcurl\.so.*not found/libcurl4/p' -e 's/.*libsasl2\.so.*not found/libsasl2-2/p')
    # shellcheck disable=SC2086 # one word per package
    [ -z "$missing" ] || packages $missing
}

other_core() {
    local have other minor folder stamp python wanted
    have=$(.venv/bin/python -c 'import ansible.release as r; print(r.__version__)')
    case $have in 2.19.*) other=2.21 minor=12 ;; *) other=2.19 minor=11 ;; esac
    folder=.venv-core${other/./}
    stamp=$folder/.mendbook
    wanted=$(key "$other")
    if ! fresh "$folder" "$stamp" "$wanted"; then
        if ! python=$(find_python "$minor" python3.13 python3.12 python3.14 python3); then
            say "no Python 3.$minor or newer found: what is true of ansible-core $other is not tested here"
            return
        fi
        say "making $folder with ansible-core $other, $("$python" --version)"
        make_venv "$folder" "$python"
        fill "$folder" --editable . "ansible-core==$other.*"
        echo "$wanted" >"$stamp"
    fi
    echo "export MENDBOOK_TEST_CORE${other/./}='$root/$folder/bin'"
}

collections() {
    local folder=.venv-collections wanted bundle
    # the version that the extra of the same name allows
    bundle=$(sed -n 's/^collections = \["\(ansible[^"]*\)".*/\1/p' pyproject.toml)
    wanted=$(key collections)
    if [ "$(cat "$folder/.mendbook" 2>/dev/null)" = "$wanted" ]; then return; fi
    say "making $folder with the collections of $bundle"
    rm -rf "$folder"
    # some 26,000 files, of which few are ever imported: not compiled, and linked to the copies that uv keeps
    "$uv" pip install --quiet --no-deps --python .venv/bin/python --target "$folder" "$bundle" >&2
    echo "$wanted" >"$folder/.mendbook"
}

uv=$(find_uv) || uv=''
case ${1:-} in
sandbox | dev)
    main_environment "$1" # not joined by &&, which would switch off set -e inside it
    server_libraries
    ;;
other-core) other_core ;;
collections) collections ;;
*) die "usage: tools/environments.sh sandbox|dev|other-core|collections" ;;
esac
