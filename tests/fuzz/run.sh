#!/bin/sh
# Builds the fuzz target with AddressSanitizer and UndefinedBehaviorSanitizer and runs it. Status 1: a finding, whose
# input lies in build/fuzz/findings. Give it to the binary again to see it once more: build/fuzz/predict_request FILE
#
#   tests/fuzz/run.sh SECONDS
#   tests/fuzz/run.sh --runs N
#
# CXX: a clang++ with libFuzzer (default: the newest installed). PYTHON: a Python with the test requirements.
set -eu
cd "$(dirname "$0")/../.."

case "${1:-}" in
    --runs) limit="-runs=${2:?how many runs?}" ;;
    "" | *[!0-9]*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) limit="-max_total_time=$1" ;;
esac

find_clang() {
    for name in clang++ clang++-22 clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14; do
        if command -v "$name"; then return; fi
    done
    echo "no clang++ found: libFuzzer comes with it" >&2
    exit 2
}
cxx=${CXX:-$(find_clang)}
out=build/fuzz
cpp=ovms/_native/cpp
mkdir -p "$out/corpus" "$out/findings"

"$cxx" -std=c++20 -O1 -g -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I "$cpp" \
    tests/fuzz/fuzz_predict_request.cpp "$cpp/convert.cpp" "$cpp/proto_wire.cpp" "$cpp/tensor_decode.cpp" \
    "$cpp/tfs_request.cpp" "$cpp/tfs_response.cpp" -o "$out/predict_request"
PYTHONPATH=. "${PYTHON:-python3}" -m tests.fuzz.make_corpus "$out/corpus"

"$out/predict_request" "$limit" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -use_value_profile=1 -artifact_prefix="$out/findings/" "$out/corpus" ||
    { echo "findings are in $out/findings" >&2; exit 1; }
