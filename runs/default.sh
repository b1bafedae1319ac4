#!/usr/bin/env bash
# The shipped weights from nothing: corpus, speech model, fusion module, model folder, and what they measure.
# Needs the speech engines named in the README. Every stage resumes where it was cut off. `--half True` halves the time
# of a processor that multiplies in bfloat16; leave it out on others.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
work=${1:-out/default}
mkdir -p "$work"

[ -f "$work/corpus/manifest.json" ] || { rm -rf "$work/corpus"; visemo prepare planted --minutes 100 -o "$work/corpus"; }
again() { [ -f "$work/$1/checkpoint.pt" ] && echo --resume || true; }
# the two parts are trained side by side, one core each
visemo train speech --half True --data "$work/corpus" -o "$work/speech" $(again speech) &
visemo train fusion --data "$work/corpus" -o "$work/fusion" $(again fusion)
wait $!
visemo assemble "$work/speech" "$work/fusion" -o "$work/model"
visemo evaluate --model "$work/model" --data "$work/corpus" -o "$work/report"
