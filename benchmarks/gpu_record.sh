#!/usr/bin/env bash
# One run on a GPU, everything that a device alone can answer, most valuable first.
#
#   benchmarks/gpu_record.sh [SECONDS [STAGE ...]]      SECONDS in all, 840 unless given
#
# Each stage has a time limit and a process of its own and writes as it goes: a run that is cut loses
# what the stage it was in had not written.  Into $OUT (gpu-record/ unless set):
#
#   summary.tsv  stage, exit status, seconds, last line    stages.log  what all stages printed
#   table.md     the figures, row by row                    facts.tsv   constants, kernels' registers
#   tests.xml, rest.xml   pytest's reports                  record.md   the section for docs/gpu-runs.md
#
# A second call goes on: rows of the table that are done are left out; name stages to run only these.
# WHEELS=folder: packages to install first, without a network.  SKIP="sanitizer ncu": stages to leave
# out.  DRY_RUN=tests/ops/test_activation.py: on CuPy's arrays in host memory, at the smallest sizes,
# with these tests, to try the script.
#
# Exit status: 0; 1 where a stage failed; 3 where no GPU answers, after seconds.
set -u
cd "$(dirname "$0")/.." || exit 2
budget=${1:-840}; shift || true
wanted=" $* "; begun=$SECONDS; failed=0
PY=${PYTHON:-python3}; OUT=${OUT:-$PWD/gpu-record}; SKIP=" ${SKIP:-} "; DRY_RUN=${DRY_RUN:-}
export PY OUT DRY_RUN NNX_BACKEND=cupy PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
export PYTHONPATH="$OUT/site:$PWD:$PWD/tests/support${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$OUT"
log=$OUT/stages.log; summary=$OUT/summary.tsv
[ -s "$summary" ] || printf 'stage\tstatus\tseconds\tlast line\n' >"$summary"

# python MODULE ARGUMENTS...: on the device, or, to try the script, on CuPy in host memory
device() {
    if [ -z "$DRY_RUN" ]; then "$PY" -m "$@"; return; fi
    "$PY" -c '
import runpy, sys
import cupy_on_cpu
from nnx.backends import override
with cupy_on_cpu.installed() as b, override(b.modules.array, b):
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)' "$@"
}

# tests REPORT PATH...: six processes where pytest-xdist is there; plain where a plugin gets in the way
tests() {
    local report=$1 many=() chosen=(-m gpu) status; shift
    if [ -n "$DRY_RUN" ]; then chosen=(-k "cupy-on-cpu and relu"); else export NNX_REQUIRE_GPU=1; fi
    "$PY" -c 'import xdist' 2>/dev/null && many=(-n "${JOBS:-6}" --dist loadfile)
    local common=(-q "${chosen[@]}" -p no:cacheprovider --tb=short -rfE "--junitxml=$OUT/$report.xml")
    "$PY" -m pytest "${common[@]}" ${many[@]+"${many[@]}"} "$@"; status=$?
    [ $status -le 1 ] && return $status
    echo "pytest ended with $status: once more, in one process, warnings not taken as errors"
    "$PY" -m pytest "${common[@]}" -o filterwarnings=default "$@"
}

# again COMMAND...: goes on where the device's context was lost (9) or the process died
again() {
    local k status=0
    for k in 1 2 3 4 5 6; do
        "$@"; status=$?
        case $status in 9 | 134 | 139) ;; *) return $status ;; esac
    done
    return $status
}

table() {
    local size=()
    [ -n "$DRY_RUN" ] && size=(--size tiny --batches 1 --seconds 0.0001 --no-torch)
    again device benchmarks.gpu_table --done "$OUT/rows-done${1:-}" ${size[@]+"${size[@]}"} "$@" |
        tee -a "$OUT/table.md"
    return "${PIPESTATUS[0]}"
}

have() { command -v "$1" >/dev/null || { echo "$1 is not installed"; return 1; }; }
export -f device tests again table have

stage() {  # stage NAME LIMIT COMMAND...
    local name=$1 limit=$2 at=$SECONDS left status; shift 2
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
    [[ $SKIP == *" $name "* ]] && return 0
    left=$((budget - (SECONDS - begun)))
    if [ "$left" -lt 8 ]; then printf '%s\tno time left\t0\t\n' "$name" >>"$summary"; return 0; fi
    [ "$left" -lt "$limit" ] && limit=$left
    printf '\n######## %s (at most %s s)\n' "$name" "$limit" | tee -a "$log"
    timeout -k 5 "$limit" bash -c "$*" 2>&1 | tee -a "$log" "$OUT/now" | tail -n 12 | cut -c1-300
    status=${PIPESTATUS[0]}
    printf '%s\t%s\t%s\t%s\n' "$name" "$status" $((SECONDS - at)) \
        "$(grep -v '^ *$' "$OUT/now" | tail -n 1 | tr '\t' ' ' | cut -c1-160)" >>"$summary"
    rm -f "$OUT/now"
    [ "$status" -eq 0 ] || failed=1
}

if [ -n "${WHEELS:-}" ]; then
    stage install 60 '"$PY" -m pip install -q --no-index --no-deps --no-compile --upgrade \
        --target "$OUT/site" '"$WHEELS"'/*.whl'
fi
if [ -z "$DRY_RUN" ]; then
    reason=$(timeout 60 "$PY" -c 'from nnx.backends import unavailable; print(unavailable("cupy") or "")' 2>&1) ||
        reason="nnx cannot be imported: $(tail -n 1 <<<"$reason")"
    if [ -n "$reason" ]; then echo "no GPU to record: $reason"; exit 3; fi
fi

suppressed='-p no:cacheprovider -o filterwarnings=default'
stage machine 20 'nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv 2>/dev/null
    nproc; "$PY" -V; "$PY" -m pip list 2>/dev/null | grep -iE "^(cupy|numpy|torch|numba|array-api|pytest)"; :'
stage smoke 100 'device benchmarks.gpu_smoke ${DRY_RUN:+--small}'
stage doctor 60 'device nnx doctor'
stage facts 70 'device benchmarks.gpu_facts ${DRY_RUN:+--small} | tee -a "$OUT/facts.tsv"; exit "${PIPESTATUS[0]}"'
stage tests 110 'tests tests ${DRY_RUN:-tests/kernels --deselect tests/kernels/test_training_runs.py}'
stage table 240 'table'
stage rest 110 'tests rest ${DRY_RUN:-tests/ops tests/nn tests/optim tests/train tests/backends
    tests/tools tests/kernels/test_training_runs.py}'
stage tf32 120 'table --tf32'
stage sanitizer 90 "have compute-sanitizer && compute-sanitizer --tool memcheck --error-exitcode 7 \
    \"\$PY\" -m pytest -q -m gpu -x $suppressed tests/kernels/test_linear.py tests/kernels/test_loss.py"
stage racecheck 60 "have compute-sanitizer && compute-sanitizer --tool racecheck --error-exitcode 7 \
    \"\$PY\" -m pytest -q -m gpu -x $suppressed tests/kernels/test_lstm.py -k float32"
stage ncu 45 'have ncu && ncu --set basic --kernel-name regex:lstm_sequence --launch-count 2 \
    --clock-control none "$PY" -m benchmarks.gpu_smoke --small'

{
    printf '### %s\n\n' "$(date -u +%F)"
    head -n 1 "$OUT/table.md" 2>/dev/null
    printf '\n| stage | status | seconds | last line |\n| --- | --- | --- | --- |\n'
    tail -n +2 "$summary" | tr -d '|' | awk -F '\t' '{print "| " $1 " | " $2 " | " $3 " | " $4 " |"}'
    printf '\n'; tail -n +2 "$OUT/table.md" 2>/dev/null
} >"$OUT/record.md"
printf '\n######## for docs/gpu-runs.md (also in %s)\n\n' "$OUT/record.md"
cat "$OUT/record.md"
exit $failed
