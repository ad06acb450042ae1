#!/bin/sh
# Runs the tests of backend-tch on CUDA, with the LibTorch of Python's torch. See docs/cuda.md.
#
# run.sh           the tests, then the measurements
# run.sh tests     or one of the two
# run.sh bench
#
# PYTHON: the Python that has torch 2.11 (python3). RESULTS: where the logs go (results, beside this script).
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
results=${RESULTS:-$here/results}
what=${1:-all}

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

version=$("$python" -c 'import torch; print(torch.__version__)') || fail "$python has no torch"
case $version in
2.11.*) ;;
*) fail "this was built for torch 2.11, and $python has $version" ;;
esac
lib=$("$python" -c "import torch,os; print(os.path.join(os.path.dirname(torch.__file__),'lib'))")
device=$("$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device")')
echo "torch $version, $device"
mkdir -p "$results" || fail "cannot write $results: name another folder in RESULTS"

# A program with LibTorch in place.
with_torch() {
    LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}

status=0
if [ "$what" != bench ]; then
    echo "conformance: every case on the CPU and on CUDA (some minutes)"
    with_torch "$here/conformance" >"$results/conformance.log" 2>&1 || status=1
    grep -E ' cases ran$|^test result|^test .* FAILED$' "$results/conformance.log"
    for dtype in f64 f32 f16 bf16; do
        passed=$(grep -cE "^test tch-cuda::.*/$dtype +\.\.\. .*ok$" "$results/conformance.log")
        echo "tch-cuda, $dtype: $passed cases agree with the reference"
    done
    for tests in tensors maps; do
        with_torch "$here/$tests" >"$results/$tests.log" 2>&1 || status=1
        grep -E '^test result|^test .* FAILED$|not run' "$results/$tests.log"
    done
    if ! grep -q '^tch-cuda: [1-9]' "$results/conformance.log"; then
        echo "run.sh: nothing ran on CUDA; the logs are in $results" >&2
        status=1
    fi
fi
if [ "$what" != tests ]; then
    rm -f "$results/calls.log" "$results/calls.log-memory"
    CUDA_COUNT_LOG="$results/calls.log" with_torch env LD_PRELOAD="$here/libcount.so" "$here/cuda_bench" || status=1
    "$python" "$here/compare.py" || status=1
fi
exit $status
