#!/usr/bin/env bash
# What an NVIDIA GPU says of this project, within four minutes:
#
#   benchmarks/gpu_check.sh --prepare MODELS     make the ONNX files (CPU; needs the extra `export`), small enough to carry
#   benchmarks/gpu_check.sh MODELS [RESULTS]     run; needs onnxruntime-gpu with its CUDA libraries, numpy, onnx
#
# RESULTS is benchmarks/results/<GPU's name> by default. Every step has a time limit and writes its own file as it goes: a step
# that fails is recorded in checks.txt and the others run. Exit code 1 when one failed.
#
#   PYTHON=python3     the interpreter
#   PROVIDER=cuda      cpu tries the script itself on a machine without a GPU
#   LIMIT_S=225        the whole run; what does not fit is recorded as skipped
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
PYTHON=${PYTHON:-python3} PROVIDER=${PROVIDER:-cuda} LIMIT_S=${LIMIT_S:-225}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 COLUMNS=160

usage() {
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

case ${1:-} in
"" | -h | --help) usage ;;
--prepare) [ $# -eq 2 ] || usage; exec "$PYTHON" benchmarks/gpu_models.py prepare "$2" ;;
esac
MODELS=$1
[ -f "$MODELS/rarn-s.onnx" ] || { echo "$MODELS: has no rarn-s.onnx; first: $0 --prepare $MODELS" >&2; exit 2; }
command -v "$PYTHON" >/dev/null || { echo "$PYTHON: no such interpreter; name one with PYTHON=" >&2; exit 2; }

# Libraries that pip installed lie in site-packages/nvidia/*/lib, where the loader does not look by itself.
LIBRARIES=$("$PYTHON" - <<'PYTHON_CODE'
import sys
from pathlib import Path
print(":".join(str(folder) for place in sys.path if place for folder in sorted(Path(place).glob("nvidia/*/lib"))))
PYTHON_CODE
)
export LD_LIBRARY_PATH="$LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

GPU=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)
NAME=$(printf '%s' "${GPU:-no-gpu}" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' '-')
RESULTS=${2:-benchmarks/results/$NAME}
mkdir -p "$RESULTS" || exit 2
CHECKS=$RESULTS/checks.txt
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

# step NAME SECONDS EXPECTED_EXIT_CODE OUTPUT COMMAND...: stdout goes to OUTPUT where that is a file name and not `-`; how it
# ended and the last lines of the rest go to checks.txt.
step() {
    local name=$1 limit=$2 expected=$3 output=$4 left=$((LIMIT_S - SECONDS)) start=$SECONDS code verdict=ok
    local log=$SCRATCH/$name.log
    shift 4
    if [ "$left" -lt 5 ]; then
        printf '\n== %s: SKIPPED, no time left\n' "$name" | tee -a "$CHECKS"
        return 1
    fi
    if [ "$output" = - ]; then
        timeout -k 5 $((limit < left ? limit : left)) "$@" >"$log" 2>&1
    else
        timeout -k 5 $((limit < left ? limit : left)) "$@" >"$output" 2>"$log"
    fi
    code=$?
    [ "$output" = - ] || [ -s "$output" ] || rm -f "$output"
    [ "$code" -eq "$expected" ] || verdict=FAILED
    {
        printf '\n== %s: %s, exit code %d (expected %d), %d s\n$' "$name" "$verdict" "$code" "$expected" $((SECONDS - start))
        printf ' %q' "$@"
        printf '\n'
        tail -n 80 "$log" | cut -c 1-400
    } >"$SCRATCH/$name.end"
    cat "$SCRATCH/$name.end" >>"$CHECKS"
    echo "$SECONDS s: $name: $verdict"
    [ "$verdict" = ok ]
}

{
    date -u '+%Y-%m-%d %H:%M:%S UTC'
    echo "provider $PROVIDER, revision $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,persistence_mode --format=csv 2>/dev/null || echo "no nvidia-smi"
    "$PYTHON" -c 'import sys, onnxruntime as o; print("Python", sys.version.split()[0], "onnxruntime", o.__version__, o.__file__, o.get_available_providers())' 2>&1
} >"$CHECKS"

rarn=("$PYTHON" -m rarn_edge)
on=(--provider "$PROVIDER")
refused=$([ "$PROVIDER" = cpu ] && echo 0 || echo 3) # the CPU takes what a GPU is to refuse
int8=rarn_edge/assets/rarn-n.ferplus.x86-avx2.int8.onnx

step fill 40 0 - "$PYTHON" benchmarks/gpu_models.py fill "$MODELS" &
step doctor 45 0 "$RESULTS/doctor.json" "${rarn[@]}" doctor --json
wait

# Answers: nothing is timed, so these run side by side.
for model in rarn-s rarn-n; do
    step "parity-$model" 60 0 "$RESULTS/parity-$model.json" \
        "${rarn[@]}" parity "$MODELS/$model.onnx" "$MODELS/$model.fp16.onnx" --tolerances benchmarks/fp16_tolerances.toml "${on[@]}" --json &
done
step refused-int8 40 "$refused" - "${rarn[@]}" bench "$int8" "${on[@]}" --rounds 3 --starts 1 --no-memory &
step mixed-int8 40 0 - "${rarn[@]}" bench "$int8" "${on[@]}" --rounds 3 --starts 1 --no-memory --allow-fallback &
step refused-openvino 40 3 - "${rarn[@]}" bench "$MODELS/rarn-n.onnx" --provider openvino &
step refused-unknown 40 2 - "${rarn[@]}" bench "$MODELS/rarn-n.onnx" --provider gpu &
wait

# Speed: one after the other. What a stopped run left, whose results these replace, would be refused.
rm -f "$RESULTS"/*.json.partial
suite=(bench --suite benchmarks/suites/gpu.toml --files "$MODELS" --work "$MODELS" "${on[@]}")
step bench 100 0 - "${rarn[@]}" "${suite[@]}" --budget "${BUDGET_S:-40}s" -o "$RESULTS/gpu.json"
[ "$PROVIDER" = cpu ] || # which has no CUDA graphs
    step bench-cuda-graph 70 0 - "${rarn[@]}" "${suite[@]}" --cuda-graph --starts 1 --budget "${BUDGET_S:-30}s" -o "$RESULTS/gpu_graph.json"
step memory 40 0 - "${rarn[@]}" bench "$MODELS"/rarn-s{,.fp16}.onnx "$MODELS"/rarn-n.onnx "${on[@]}" --batch 64 --threads 1 \
    --rounds 3 --starts 1 --memory -o "$RESULTS/gpu-memory.json"
step large 50 0 - "${rarn[@]}" bench "$MODELS"/{rarn-152,resnet-50,resnet-152,inception-v4}.onnx "${on[@]}" --batch 1,64 --threads 1 \
    --budget "${BUDGET_S:-25}s" --starts 1 --no-memory -o "$RESULTS/gpu-large.json"

failed=$(grep -cE '^== .*: (FAILED|SKIPPED)' "$CHECKS")
printf '\n%s steps failed or skipped; %s s in all\n' "$failed" "$SECONDS" | tee -a "$CHECKS"
[ "$failed" -eq 0 ]
