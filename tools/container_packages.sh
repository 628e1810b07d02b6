#!/bin/sh
# Installs what builds and runs containers for the tests: podman and runc, what makes a base without a registry, and an
# init for --init. Does nothing when it is all there.
set -eu
missing=""
for program in podman runc debootstrap catatonit; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "error: please install these (Debian's names):$missing" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
echo "Installing system packages:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 - a list of names
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
