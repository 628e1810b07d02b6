#!/bin/sh
# Runs the native tests with the extension built under a sanitizer, in build/sanitize-KIND: the extension that is built
# in place stays as it is.
#
#   tests/native/sanitize.sh address [PYTEST ARGUMENTS]   AddressSanitizer and UndefinedBehaviorSanitizer, all tests
#   tests/native/sanitize.sh thread [PYTEST ARGUMENTS]    ThreadSanitizer, the tests with threads
#   tests/native/sanitize.sh KIND --build                 builds the extension, and that is all
#   tests/native/sanitize.sh KIND --built [PYTEST ...]    tests what was built last
#
# Those of the native front end are among both: the servers that they start are built so, too. What they say of memory
# and of time is not checked then.
#
# OVMS_FRONTEND=0: the native front end is not built, for tests that do not use it.
# PYTHON: a Python with the build's and the tests' requirements. CXX: g++ (its runtime is the one that is preloaded).
set -eu
cd "$(dirname "$0")/../.."
kind=${1:-}
front_end=$(ls tests/server/test_grpc_[hmsl]*.py tests/server/test_large_messages.py tests/server/test_rest_native.py tests/server/test_rest_http2.py \
    tests/server/test_rest_hostile_*.py tests/server/test_scheduling_served.py tests/server/test_metrics_served.py \
    tests/server/test_cold_calls_memory.py tests/server/test_tls*.py tests/server/test_access_*.py)
case "$kind" in
    address) runtimes="libasan.so libubsan.so libstdc++.so" tests="tests/native $front_end" ;;
    thread) runtimes="libtsan.so libstdc++.so" tests="tests/native/test_concurrency.py tests/native/test_dynamic_graph.py tests/native/test_memory.py tests/native/test_run_ahead.py $front_end" ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
shift
only=
case "${1:-}" in --build | --built) only=$1; shift ;; esac
python=${PYTHON:-python3}
cxx=${CXX:-g++}
root=$(pwd)
out=$root/build/sanitize-$kind

# A tree of its own: the package's Python files, and beside them the modules built here.
if [ "$only" != --built ]; then
    mkdir -p "$out/tree"
    rm -rf "$out/tree/ovms"
    cp -R ovms "$out/tree/ovms"
    find "$out/tree" \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
    (
        mkdir -p "$out/source"
        for name in setup.py setup.cfg pyproject.toml README.md LICENSE; do cp "$name" "$out/source/"; done
        rm -rf "$out/source/ovms"
        cp -R "$out/tree/ovms" "$out/source/ovms"
        cd "$out/source"
        CC="${CC:-gcc}" CXX="$cxx" OVMS_SANITIZE=$kind "$python" setup.py -q build_ext \
            --build-lib "$out/tree" --build-temp "$out/objects" --force
    )
fi
[ "$only" != --build ] || exit 0

preload=
for library in $runtimes; do preload="$preload $("$cxx" -print-file-name=$library)"; done
rm -f "$out"/report.*
# pytest catches what a dying process prints, so reports go to files. Leaks are not looked for: Python's own are many.
# libstdc++ is preloaded because the sanitizer looks for __cxa_throw before OpenVINO brings it. TBB loads its libraries
# in a way that sanitizers refuse, unless it is told of them.
export TBB_ENABLE_SANITIZERS=1
export ASAN_OPTIONS="log_path=$out/report:detect_leaks=0:allocator_may_return_null=1:handle_segv=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="log_path=$out/report:print_stacktrace=1:halt_on_error=1"
export TSAN_OPTIONS="log_path=$out/report:suppressions=$root/tests/native/tsan.supp:exitcode=66:die_after_fork=0:ignore_noninstrumented_modules=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
export OVMS_TEST_TREE="$out/tree" OVMS_SANITIZE="$kind" PYTHONPATH="$out/tree:$root:$root/client" PYTHONMALLOC=malloc
# -P: the folder one stands in is not searched first, or the extension built in place would be found there.
status=0
env LD_PRELOAD="$preload" "$python" -P -m pytest -p no:cacheprovider -q -o timeout=1200 -o pythonpath= \
    ${*:-$tests} || status=$?
for report in "$out"/report.*; do
    [ -e "$report" ] || continue
    cat "$report"
    status=1
done
exit $status
