#!/usr/bin/env bash
# The paper's tables and figures, and the rivals, on a planted store, one line a stage; each resumes.
#   runs/tables.sh STORE [OUT]
# MODEL is measured (default), MORE are further stores that it learned from, FACE is the store's face (builtin).
# STEPS is how long each ablation is trained (600), RIVAL_STEPS every rival that is trained (2500), PAIRS how many test
# pairs are looked at (0: all), TIMED what the benchmark is told.
set -euo pipefail
store=${1:?usage: runs/tables.sh STORE [OUT]} work=${2:-out/tables}
model=${MODEL:-default} more=(${MORE:-}) face=${FACE:-builtin} steps=${STEPS:-600} pairs=${PAIRS:-0}
here=$(dirname "$0")
PATH="$here/../.venv/bin:$PATH"
export OMP_NUM_THREADS=1
mkdir -p "$work/trained"

runs=()
train() { # name, what is other than in the default
    local run="$work/trained/$1" resume=()
    runs+=("$run")
    [ -f "$run.finished" ] && return
    [ -f "$run/config.json" ] && resume=(--resume)
    visemo train fusion --face "$face" --data "$store" "${more[@]/#/--data=}" -o "$run" --steps "$steps" "${@:2}" "${resume[@]}"
    touch "$run.finished"
}
tables() { python "$here/tables.py" "$@"; }

[ -f "$work/report/metrics.json" ] || visemo evaluate --model "$model" --data "$store" -o "$work/report"
[ -f "$work/benchmark.json" ] || visemo benchmark --json "$work/benchmark.json" ${TIMED:---seconds 10 --seconds 60}
train default --horizon "$steps"
train no_laplace --horizon "$steps" --laplace 0
train no_sparsity --horizon "$steps" --sparsity 0
train no_geometry_map --horizon "$steps" --geometry-map False
train paper_objective --horizon "$steps" --objective paper
train paper_preset --preset paper --pool 12000
tables ablations --data "$store" --runs "${runs[@]}" --out "$work/ablations" --pairs "$pairs"
tables rivals --data "$store" --more "${more[@]}" --model "$model" --out "$work/rivals" --steps "${RIVAL_STEPS:-2500}" --pairs "$pairs"
tables write --report "$work/report" --benchmark "$work/benchmark.json" --rivals "$work/rivals" --ablations "$work/ablations" --out "$work"
tables draw --data "$store" --model "$model" --rivals "$work/rivals" --ablations "$work/ablations" --out "$work"
