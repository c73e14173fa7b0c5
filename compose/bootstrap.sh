#!/bin/sh
# Makes .venv and installs Tropilla in it: `sh compose/bootstrap.sh run|test [COMMAND...]`, from the repository root.
# `run` is what users need, `test` adds the tools of `make test`. With nothing to do it takes a moment.
# Whatever is missing is one sentence with the package to install.
set -eu

mode=$1
shift
environment=.venv
lock=$environment/installing
stamp=$environment/installed
place=$environment/place
log=$environment/install.log
progress_seconds=15

fail() {
    echo "tropilla: $1" >&2
    exit 1
}

# -- what is needed ----------------------------------------------------------------------------------------------------

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c "$new_enough" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null) || found="no python3"
    fail "Python 3.11 or newer is needed, and there is $found: apt-get install python3 (Debian 12 or newer), or name one with PYTHON=/path/to/python3"
}

check_venv() {
    if ! "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        package=python3-venv
        case $1 in python3.*) package=$1-venv ;; esac
        fail "$1 cannot make virtual environments: apt-get install $package"
    fi
}

# A compiler without its headers is as good as none, so let both of them compile something.
check_compilers() {
    compiles "${CC:-cc}" c '#include <stdio.h>' ||
        fail "there is no working C compiler, which llama.cpp is built with: apt-get install build-essential"
    compiles "${CXX:-c++}" c++ '#include <string>' ||
        fail "there is no working C++ compiler, which llama.cpp is built with: apt-get install build-essential"
}

compiles() {
    # Unquoted: CC may be `ccache gcc`.
    printf '%s\nint main(void) { return 0; }\n' "$3" | $1 -x "$2" -o /dev/null - >/dev/null 2>&1
}

# -- what is there -----------------------------------------------------------------------------------------------------

# Changes when something else would be installed. Modules are read where they lie, so new ones change nothing.
wanted() {
    cat pyproject.toml compose/bootstrap.sh | cksum
}

# An environment that was moved calls programs in the place it came from.
works() {
    [ "$(cat $place 2>/dev/null || pwd)" = "$(pwd)" ] &&
        [ -x $environment/bin/python ] && $environment/bin/python -c "$new_enough" >/dev/null 2>&1
}

# What is installed for tests is enough to run.
installed() {
    works && [ -f $stamp ] && [ "$(sed -n 1p $stamp)" = "$(wanted)" ] &&
        case "$(sed -n 2p $stamp)" in "$mode" | test) true ;; *) false ;; esac
}

# -- one at a time -----------------------------------------------------------------------------------------------------

take_lock() {
    mkdir -p $environment
    said=no
    until mkdir $lock 2>/dev/null; do
        owner=$(cat $lock/process 2>/dev/null) || owner=
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf $lock
            continue
        fi
        [ $said = yes ] || echo "Another installation is running (process ${owner:-unknown}); waiting for it."
        said=yes
        sleep 1
    done
    echo $$ >$lock/process
    installing=
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap leave EXIT
}

# However we end, also when the terminal is gone and the next echo fails.
leave() {
    if [ -n "$installing" ]; then
        # The installation leads a process group; dash knows only this way to name one. Politely first, because ninja
        # keeps its compilers in groups of their own.
        kill -s TERM -- "-$installing" 2>/dev/null || true
        sleep 1
        kill -s KILL -- "-$installing" 2>/dev/null || true
    fi
    rm -rf $lock
}

# -- doing it ----------------------------------------------------------------------------------------------------------

# Everything that could be missing, before anything is made.
check() {
    works || {
        python=$(find_python)
        check_venv "$python"
    }
    [ -n "$(compiled)" ] || check_compilers
}

compiled() {
    ls -d $environment/lib/python3*/site-packages/llama_cpp 2>/dev/null || true
}

make_environment() {
    works && return
    rm -rf $environment/bin $environment/lib $environment/lib64 $environment/include $environment/pyvenv.cfg $place
    echo "Making $environment with $("$python" --version)."
    "$python" -m venv $environment || fail "$python could not make $environment; its words are above"
}

# The package as files on a path, because mypy does not follow an editable installation: `MYPYPATH=.venv/typed mypy`.
link_rooms() {
    mkdir -p $environment/typed/tropilla
    for room in api common compose workers; do
        ln -sfn "../../../$room" $environment/typed/tropilla/$room
    done
}

install() {
    what=.
    [ "$mode" = run ] || what=".[$mode]"
    takes="a minute"
    [ -n "$(compiled)" ] || takes="4 to 8 minutes on 2 cores, because llama.cpp is compiled the first time"
    echo "Installing into $environment; this takes $takes."
    rm -f $stamp
    pwd >$place
    : >$log
    # In a session of its own, so that Ctrl-C can end all of it.
    $environment/bin/python -c 'import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])' \
        $environment/bin/python -m pip install --disable-pip-version-check --no-input -e "$what" >$log 2>&1 &
    installing=$!
    show_progress
    wait "$installing" || installation_failed
    installing=
    [ "$mode" != test ] || install_alone
    wanted >$stamp
    echo "$mode" >>$stamp
}

# TGI's own client, which tests talk with. It pins an old huggingface-hub, beside which ours cannot be installed, and works
# with the new one: so it comes without what it says it needs. requests and aiohttp are in pyproject.toml's `test`.
install_alone() {
    $environment/bin/python -m pip install --disable-pip-version-check --no-input --no-deps text-generation==0.7.0 \
        >>$log 2>&1 || installation_failed
}

installation_failed() {
    tail -n 25 $log >&2
    fail "the installation failed; its last words are above, all of them in $log"
}

show_progress() {
    elapsed=0
    while kill -0 "$installing" 2>/dev/null; do
        sleep 1
        elapsed=$((elapsed + 1))
        [ $((elapsed % progress_seconds)) -ne 0 ] || echo "  $elapsed s: $(tail -n 1 $log | cut -c 1-90)"
    done
}

if ! installed; then
    take_lock
    if ! installed; then
        check
        make_environment
        link_rooms
        install
    fi
    leave
    trap - EXIT INT TERM HUP
fi

[ $# -eq 0 ] || exec "$@"
