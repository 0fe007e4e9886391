# The other commands in this folder source this file. It sets `python` to an interpreter that has dlcore installed.
#
# If $DLCORE_PYTHON is in a virtual environment, or if one is active, that environment is used. Otherwise .venv in the
# checkout is used; it is made with $DLCORE_PYTHON or with the newest Python >= 3.11 that is found.

# Puts large arrays on huge pages. Without them, a large layer spends most of its time on the CPU in page faults of
# new memory: a convolution with 98 MB of outputs takes 3 times as long. C libraries other than glibc ignore this.
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

# Prints the interpreter that the user chose, if any.
chosen_python() {
    chosen=${DLCORE_PYTHON:-${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}}
    [ -n "$chosen" ] || return 0
    command -v "$chosen" >/dev/null || fail "$chosen (from DLCORE_PYTHON or VIRTUAL_ENV) is no program"
    is_new_enough "$chosen" || fail "$chosen is $("$chosen" --version 2>&1); dlcore needs Python 3.11 or newer"
    echo "$chosen"
}

# Prints the newest interpreter that runs.
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

# is_usable PYTHON BASE: true if PYTHON works and, if BASE is not empty, has the same version.
is_usable() {
    [ -x "$1" ] && is_new_enough "$1" && "$1" -c 'import pip' 2>/dev/null &&
        { [ -z "$2" ] || [ "$("$2" --version)" = "$("$1" --version)" ]; }
}

# use_environment CHECKOUT EXTRAS: sets `python`. Makes its environment and installs dlcore if that is not done yet.
use_environment() {
    python=$(chosen_python) || exit 2
    if [ -z "$python" ] || ! is_virtual "$python"; then
        base=$python
        python=$1/.venv/bin/python
        if ! is_usable "$python" "$base"; then
            base=${base:-$(newest_python)} || exit 2
            [ -n "$base" ] || exit 2
            echo "making $1/.venv with $("$base" --version)" >&2
            "$base" -m venv --clear "$1/.venv" ||
                fail "$base cannot make a virtual environment; Debian and Ubuntu: apt install python3-venv"
        fi
    fi
    # The installation is editable, so only a change of pyproject.toml needs another one.
    prefix=$("$python" -c 'import sys; print(sys.prefix)')
    wanted="$1 $(cksum <"$1/pyproject.toml")"
    if ! has_extras "$prefix" "$wanted" "$2"; then
        echo "installing dlcore[$2] into $prefix" >&2
        "$python" -m pip install --quiet --disable-pip-version-check --editable "$1[$2]" ||
            fail "the installation did not finish; see pip's message above, and run this again"
        echo "$wanted" >"$prefix/.dlcore-$2"
    fi
}

# has_extras PREFIX WANTED EXTRAS: true if one installation of WANTED into PREFIX had all of these extras.
has_extras() {
    for stamp in "$1"/.dlcore-*; do
        [ "$(cat "$stamp" 2>/dev/null)" = "$2" ] || continue
        lacking=
        for extra in $(echo "$3" | tr , ' '); do
            case ,${stamp##*/.dlcore-}, in *",$extra,"*) ;; *) lacking=$extra ;; esac
        done
        [ -n "$lacking" ] || return 0
    done
    return 1
}

# launcher_extras ARGUMENTS: prints the extras that a launcher needs with these arguments; Dask does the many runs.
launcher_extras() {
    extras=experiments
    for word; do
        case $word in
        --runs | --runs=*) extras=experiments,cluster ;;
        --) break ;;
        esac
    done
    echo "$extras"
}

# Prints the folder of the checkout.
checkout() {
    CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd
}
