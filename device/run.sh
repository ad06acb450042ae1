#!/bin/sh
# Tests and figures on a machine with a GPU and Python's torch 2.11: see docs/cuda.md.
#
# run.sh             all steps, the most telling first
# run.sh tests train only these: bench eager tests vulkan train compile
#
# PYTHON: the Python that has torch (python3).
# RESULTS: where results go (results, beside this script).
# LIMIT: seconds for everything (465). VK_DRIVER_FILES: the driver of Vulkan. SMALL=1: small shapes.
# CPU=1: what can be done without a GPU. TESTS: only the cases of the suites that are named so.
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
RESULTS=${RESULTS:-$here/results}
limit=${LIMIT:-465}
begun=$(date +%s)
steps=${*:-bench eager tests vulkan train compile}
export RESULTS

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

for step in $steps; do
    case $step in
    bench | eager | tests | vulkan | train | compile) ;;
    *) fail "$step is none of bench eager tests vulkan train compile" ;;
    esac
done

version=$("$python" -c 'import torch; print(torch.__version__)') || fail "$python has no torch"
case $version in
2.11.*) ;;
*) fail "this was built for torch 2.11, and $python has $version" ;;
esac
mkdir -p "$RESULTS" || fail "cannot write $RESULTS: name another folder in RESULTS"
# A new run writes over an old one.
rm -rf "$RESULTS"/*.log "$RESULTS"/results.json* "$RESULTS/reference"

# The programs come in one archive.
[ -d "$here/bin" ] || (cd "$here" && "$python" collect.py unpack programs.tar.xz) || fail "cannot unpack the programs"

# Python's torch and CUDA's libraries, the ones carried along, and what else of a driver lies where
# no loader looks.
libraries=$("$python" "$here/collect.py" libraries)
driver=
for place in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/x86_64-linux-gnu; do
    [ ! -d "$place" ] || driver=$driver:$place
done
torch_path=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
vulkan_path=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}$driver
if [ -z "${VK_DRIVER_FILES:-}" ]; then
    for place in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d /usr/local/nvidia/share/vulkan/icd.d; do
        if [ -f "$place/nvidia_icd.json" ]; then
            VK_DRIVER_FILES=$place/nvidia_icd.json
            break
        fi
    done
fi
# Set to nothing, it would mean no driver.
if [ -n "${VK_DRIVER_FILES:-}" ]; then export VK_DRIVER_FILES; else unset VK_DRIVER_FILES; fi
# Compiled shaders and kernels do not go among the results, which are taken along.
cache=$here/cache
export XDG_CACHE_HOME="$cache" TORCHINDUCTOR_CACHE_DIR="$cache/inductor" TRITON_CACHE_DIR="$cache/triton"
small=${SMALL:+--small}
cpu=${CPU:+--cpu}
device=cuda suite=tch-cuda
[ -z "$cpu" ] || device=cpu suite=tch-operations
# Without a GPU nothing calls the CUDA runtime.
count=$here/bin/libcount.so
[ -z "$cpu" ] || count=

left() {
    echo $((limit - $(date +%s) + begun))
}

# step NAME SECONDS COMMAND...: runs it within so many seconds, and within what is left. The log is
# NAME.log. How it ended is a result too.
step() {
    name=$1
    most=$2
    shift 2
    rest=$(left)
    [ "$rest" -gt "$most" ] || most=$rest
    if [ "$most" -lt 5 ]; then
        echo "run.sh: $name: no time is left"
        echo "{\"step\": \"$name\", \"skipped\": \"no time was left\"}" >>"$RESULTS/results.jsonl"
        return
    fi
    start=$(date +%s)
    timeout -k 5 "$most" "$@" >"$RESULTS/$name.log" 2>&1
    status=$?
    took=$(($(date +%s) - start))
    case $status in
    0) ended="done" ;;
    124 | 137) ended="cut off" ;;
    *) ended="failed" ;;
    esac
    echo "run.sh: $name: $ended after $took s (status $status)"
    [ $status = 0 ] || tail -n 3 "$RESULTS/$name.log" | cut -c1-300
    echo "{\"step\": \"$name\", \"ended\": \"$ended\", \"status\": $status, \"seconds\": $took}" >>"$RESULTS/results.jsonl"
    "$python" "$here/collect.py" results "$RESULTS"
}

# On LibTorch; the counter stands before the CUDA runtime.
torch_step() {
    name=$1 most=$2
    shift 2
    rm -f "$RESULTS/$name.count"
    step "$name" "$most" env LD_LIBRARY_PATH="$torch_path" CUDA_COUNT_LOG="$RESULTS/$name.count" LD_PRELOAD="$count" "$@"
}

vulkan_step() {
    name=$1 most=$2
    shift 2
    step "$name" "$most" env LD_LIBRARY_PATH="$vulkan_path" "$@"
}

# The programs with Burn that are there.
burn=
for program in device_burn device_burn_wgsl; do
    [ ! -x "$here/bin/$program" ] || burn="$burn $program"
done

# The suite is long: of one program, and of the next only where that crashed.
burn_suite() {
    for program in $burn; do
        status=0
        vulkan_step "tests-$program" 150 "$here/bin/$program" ${TESTS:-}
        case $status in
        124 | 137) break ;;
        *) [ "$status" -gt 124 ] || break ;;
        esac
    done
}

"$python" "$here/collect.py" about "$RESULTS"
for what in $steps; do
    case $what in
    bench)
        torch_step bench-tch 100 "$here/bin/device_tch" bench $cpu $small
        if [ -z "$cpu" ]; then
            torch_step memory-tch 45 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$here/bin/device_tch" memory $small
        fi
        ;;
    eager)
        torch_step eager 70 "$python" "$here/compare.py" eager $cpu $small
        ;;
    tests)
        # On CUDA every path and type. Not on the CPU, where `cargo xtask test` runs them. Burn's
        # suite runs at the same time.
        case " $steps " in *" vulkan "*) burn_suite & ;; esac
        torch_step tests-tch 150 "$here/bin/conformance" "${TESTS:-$suite}"
        torch_step tests-tensors 40 "$here/bin/tensors"
        torch_step tests-maps 40 "$here/bin/maps"
        wait
        ;;
    vulkan)
        for program in $burn; do
            vulkan_step "bench-$program" 60 "$here/bin/$program" bench $small
        done
        case " $steps " in *" tests "*) ;; *) burn_suite ;; esac
        ;;
    train)
        torch_step train-tch 30 "$here/bin/train_tch" --device "$device" --epochs 2 --images 640 --batch 32 --width 32
        for program in $burn; do
            vulkan_step "train-$program" 45 "$here/bin/$program" train $cpu
        done
        ;;
    compile)
        torch_step compile 150 "$python" "$here/compare.py" compile $cpu $small
        ;;
    esac
done
"$python" "$here/collect.py" results "$RESULTS"
echo "run.sh: $(($(date +%s) - begun)) s; results are in $RESULTS/results.json"
