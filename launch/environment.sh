# Sourced by the other commands in this folder: sets `python` to an interpreter that has dlcore installed.
#
# Which environment:  $DLCORE_PYTHON or the active virtual environment, as it is, if it is a virtual environment;
# otherwise .venv in the checkout, made with $DLCORE_PYTHON or the newest Python >= 3.11 found.

# Large arrays on huge pages: without it, the CPU spends most of a large layer's time on the page faults of fresh
# memory (measured: a convolution with 98 MB of outputs takes 3 times as long). Other C libraries ignore it.
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"

fail() {
    echo "error: $*" >&2
    exit 2
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

is_virtual() {
    "$1" -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null
}

# The interpreter that the user chose, if any.
chosen_python() {
    chosen=${DLCORE_PYTHON:-${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}}
    [ -n "$chosen" ] || return 0
    command -v "$chosen" >/dev/null || fail "$chosen (from DLCORE_PYTHON or VIRTUAL_ENV) is no program"
    is_new_enough "$chosen" || fail "$chosen is $("$chosen" --version 2>&1); dlcore needs Python 3.11 or newer"
    echo "$chosen"
}

# The newest interpreter that runs.
newest_python() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if is_new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    fail "found $(python3 --version 2>&1 || true), but dlcore needs Python 3.11 or newer;" \
        "install one, or name it: DLCORE_PYTHON=/path/to/python"
}

# Whether an environment works and is of the wanted version, where one is wanted.
usable() {
    [ -x "$1" ] && is_new_enough "$1" && "$1" -c 'import pip' 2>/dev/null &&
        { [ -z "$2" ] || [ "$("$2" --version)" = "$("$1" --version)" ]; }
}

# use_environment CHECKOUT EXTRAS: sets `python`; makes and fills its environment where that is not done yet.
use_environment() {
    python=$(chosen_python) || exit 2
    if [ -z "$python" ] || ! is_virtual "$python"; then
        base=$python
        python=$1/.venv/bin/python
        if ! usable "$python" "$base"; then
            base=${base:-$(newest_python)} || exit 2
            [ -n "$base" ] || exit 2
            echo "making $1/.venv with $("$base" --version)" >&2
            "$base" -m venv --clear "$1/.venv" ||
                fail "$base cannot make a virtual environment; Debian and Ubuntu: apt install python3-venv"
        fi
    fi
    # Installed in place, so only a change of what is declared asks for another install.
    stamp=$("$python" -c 'import sys; print(sys.prefix)')/.dlcore-$2
    wanted="$1 $(cksum <"$1/pyproject.toml")"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing dlcore[$2] into $(dirname "$stamp")" >&2
        "$python" -m pip install --quiet --disable-pip-version-check --editable "$1[$2]" ||
            fail "the installation did not finish; see pip's message above, and run this again"
        echo "$wanted" >"$stamp"
    fi
}

checkout() {
    CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd
}
