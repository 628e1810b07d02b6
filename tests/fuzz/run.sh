#!/bin/sh
# Builds the fuzz targets with AddressSanitizer and UndefinedBehaviorSanitizer and runs them. Status 1: a finding, whose
# input lies in build/fuzz/findings. Give it to the binary again to see it once more: build/fuzz/TARGET FILE
#
#   tests/fuzz/run.sh SECONDS     for all targets, of which two are run at a time
#   tests/fuzz/run.sh --runs N    of each target
#   tests/fuzz/run.sh --build     builds them, and that is all: what is built is built again only after a change
#
# CXX: a clang++ with libFuzzer (default: the newest installed). PYTHON: a Python with the test requirements.
set -eu
cd "$(dirname "$0")/../.."
targets="predict_request predict_json http1 http2"

case "${1:-}" in
    --runs) limit="-runs=${2:?how many runs?}" ;;
    --build) limit= ;;
    "" | *[!0-9]*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) limit="-max_total_time=$((($1 + 1) / 2))" ;;
esac

find_clang() {
    for name in clang++ clang++-22 clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14; do
        if command -v "$name"; then return; fi
    done
    echo "no clang++ found: libFuzzer comes with it" >&2
    exit 2
}
cxx=${CXX:-$(find_clang)}
python=${PYTHON:-python3}
openvino=$("$python" -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])')
out=build/fuzz
cpp=ovms/_native/cpp
mkdir -p "$out/findings" "$out/objects"

# What a target is made of. Of OpenVINO the sessions of the front end use only the headers' own code: the data plane is the
# target's.
predict_request="convert proto_wire tensor_decode tfs_request tfs_response"
predict_json="$predict_request base64 json_number json_reader json_tensor number_text signature tfs_json_request \
    tfs_json_response"
session="base64 net/body net/busy_poll net/cold_calls net/connection net/gate net/held_bytes net/http2_callbacks net/http2_session \
    net/http2_stream net/io_loop net/keys net/low_water net/metrics net/packing net/port net/rate net/refusals net/scheduler \
    net/spans net/tls net/call dynamic_graph infer_pool proto_wire run_queue"
http1="$session net/http1_reader net/http1_session net/rest_call net/rest_port net/rest_route net/rest_stream net/rest_text \
    allocator convert model shape_cache shape_check signature tensor_decode"
http2="$session net/grpc_stream net/grpc_text net/tensor_offset"

# Lines are all that a report needs of -g.
flags="-std=c++20 -O1 -gline-tables-only -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS"
flags="$flags -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined"
if [ "$(uname -m)" = x86_64 ]; then flags="$flags -msse4.2"; fi  # as setup.py

# Each source is compiled once, whichever targets have it, as many at a time as there are CPUs.
for name in $predict_json $http1 $http2; do echo "$cpp/$name.cpp"; done | sort -u >"$out/sources"
for target in $targets; do echo "tests/fuzz/fuzz_$target.cpp"; done >>"$out/sources"
# shellcheck disable=SC2012 - names without spaces
newest=$(ls -t tests/fuzz/run.sh tests/fuzz/*.cpp "$cpp"/*.?pp "$cpp"/net/*.?pp | head -n 1)
export cxx flags cpp out openvino newest
# shellcheck disable=SC2016 - variables of the inner shell
xargs -n 1 -P "$(nproc)" sh -c '
    object=$out/objects/$(basename "$0" .cpp).o
    [ "$object" -nt "$newest" ] && exit
    exec "$cxx" $flags -I "$cpp" -isystem "$openvino/include" -c "$0" -o "$object"
' <"$out/sources"

# link TARGET NAME... [-- LIBRARY...]
link() {
    target=$1
    shift
    objects="$out/objects/fuzz_$target.o"
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        objects="$objects $out/objects/${1##*/}.o"
        shift
    done
    [ $# = 0 ] || shift
    # shellcheck disable=SC2086 - lists
    "$cxx" $flags $objects "$@" -o "$out/$target"
}
libraries="-Wl,-rpath,$openvino/libs -lnghttp2 -luv -lz -lssl -lcrypto"
# shellcheck disable=SC2086 - lists
{
    link predict_request $predict_request
    link predict_json $predict_json
    link http1 $http1 -- "$openvino"/libs/libopenvino.so.* $libraries
    link http2 $http2 -- "$openvino"/libs/libopenvino.so.* $libraries
}
[ -n "$limit" ] || exit 0
PYTHONPATH=. "$python" -m tests.fuzz.make_corpus "$out/corpus"

# Waits for these processes; 1 if one failed. One by one: a plain "wait" forgets how they ended.
all_of() {
    failed=0
    for process; do wait "$process" || failed=1; done
    return $failed
}

# What a target says is shown at its end: two at a time would mix their lines.
fuzz() {
    target=$1
    dictionary=
    if [ -e "$out/corpus/$target.dict" ]; then dictionary="-dict=$out/corpus/$target.dict"; fi
    status=0
    "$out/$target" "$limit" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -use_value_profile=1 -artifact_prefix="$out/findings/$target-" $dictionary "$out/corpus/$target" \
        >"$out/$target.log" 2>&1 || status=1
    echo "$target:"
    if [ $status = 0 ]; then tail -n 20 "$out/$target.log"; else cat "$out/$target.log"; fi
    return $status
}
# shellcheck disable=SC2086 - a list of names
set -- $targets
while [ $# -gt 0 ]; do
    processes=
    for target in "$1" ${2:-}; do
        fuzz "$target" &
        processes="$processes $!"
        shift
    done
    all_of $processes || { echo "findings are in $out/findings" >&2; exit 1; }
done
