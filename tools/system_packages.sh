#!/bin/sh
# Installs what pip cannot bring: a C++20 compiler, Python's headers and venv module, and the libraries of the native front
# end. Does nothing when it is all there.
# Usage: tools/system_packages.sh PYTHON, such as python3 or python3.12
set -eu
python=$1
missing=""
# Debian names the packages by the command: python3-dev, python3.12-dev. Another command or a path is of some release.
case ${python##*/} in
    python3 | python3.[0-9]*) packages=${python##*/} ;;
    *) packages=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2>/dev/null) || packages=python3 ;;
esac
command -v c++ >/dev/null 2>&1 || missing="$missing g++"
if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        { echo "error: $python is older than 3.10; name another with make PYTHON=..." >&2; exit 1; }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing $packages-venv"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing="$missing $packages-dev"
else
    missing="$missing $packages $packages-venv $packages-dev"
fi
# The native front end's. Without them it is not built, and the other engines serve.
optional=""
check() { c++ -fsyntax-only -x c++ -include "$1" /dev/null 2>/dev/null || optional="$optional $2"; }
check nghttp2/nghttp2.h libnghttp2-dev
check openssl/ssl.h libssl-dev
check uv.h libuv1-dev
check zlib.h zlib1g-dev
check boost/beast/http/basic_parser.hpp libboost-dev
if command -v apt-get >/dev/null 2>&1; then
    missing="$missing$optional"
elif [ -n "$optional" ]; then
    echo "There will be no native front end without these (Debian's names):$optional" >&2
fi
[ -n "${missing# }" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "error: please install these (Debian's names): ${missing# }" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
echo "Installing system packages:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 - a list of names
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
