#!/bin/bash
# Makes what the tests of the image build on, without a registry: settings for podman, and stand-ins for
# debian:bookworm-slim and python:3.11-slim-bookworm, from Debian's packages and the Python of this machine.
# Usage: tests/container/stand_in.sh FOLDER      podman then needs the two variables that are printed
# They are for tests on this machine only: they hold its CA certificates.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
files=$(ulimit -Hn)

# What a machine without systemd, with cgroups of version 1 or both, and without the right to raise limits can do.
cat >"$folder/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=32768:32768"]
init_path = "$(command -v catatonit || echo /usr/libexec/podman/catatonit)"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
cat >"$folder/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$folder/store"
runroot = "$folder/run"
CONF
export CONTAINERS_CONF=$folder/containers.conf CONTAINERS_STORAGE_CONF=$folder/storage.conf

if ! podman image exists debian:bookworm-slim; then
    root=$(mktemp -d "$folder/root.XXXXXX")
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$folder/debootstrap.log" 2>&1 ||
        { tail -5 "$folder/debootstrap.log" >&2; exit 1; }
    # The official image has no documents either, and its packages bring none later.
    printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$root/etc/dpkg/dpkg.cfg.d/slim"
    rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
        "$root"/usr/share/{doc,man,info,locale}/* "$root"/var/log/*.log
    # What pip inside a build has to trust where this machine's network signs anew; pip.conf holds no index.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
    tar -C "$root" --numeric-owner --one-file-system -cf - . |
        podman import --quiet -c 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
fi

if ! podman image exists python:3.11-slim-bookworm; then
    context=$(mktemp -d "$folder/python.XXXXXX")
    trap 'rm -rf "${root:-}" "$context"' EXIT
    prefix=$(python3 -c 'import sys; print(sys.base_prefix)')
    libraries="ca-certificates netbase tzdata libssl3 libffi8 libsqlite3-0 zlib1g libbz2-1.0 liblzma5 libreadline8 \
        libncursesw6 libuuid1 libexpat1"
    clean="rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin"
    if [ "$prefix" != /usr ] && [ -x "$prefix/bin/python3.11" ]; then
        # As in the official image: a Python that was built apart, in /usr/local.
        tar -C "$prefix" --exclude='lib/python3.11/site-packages/*' --exclude='lib/python3.11/test' \
            --exclude='*/__pycache__' --exclude='*.a' --exclude=share -cf "$context/python.tar" \
            bin/python3.11 lib include
        cat >"$context/Dockerfile" <<FILE
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends $libraries && $clean
ADD python.tar /usr/local/
RUN ldconfig && cd /usr/local/bin && ln -s python3.11 python3 && ln -s python3.11 python && python3 -m ensurepip
CMD ["python3"]
FILE
    else
        cat >"$context/Dockerfile" <<FILE
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends $libraries python3 python3-venv python3-dev \
    && ln -s /usr/bin/python3 /usr/local/bin/python && $clean
CMD ["python3"]
FILE
    fi
    podman build --quiet --network host -t python:3.11-slim-bookworm "$context" >"$folder/python.log" 2>&1 ||
        { tail -20 "$folder/python.log" >&2; exit 1; }
fi
echo "CONTAINERS_CONF=$CONTAINERS_CONF"
echo "CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF"
