#!/usr/bin/env bash
# The shipped weights from nothing: corpus, speech model, fusion module, model folder, and what they measure.
# Needs the speech engines named in the README. Every stage resumes where it was cut off.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
work=${1:-out/default}
mkdir -p "$work"

plant() { [ -f "$work/$1/manifest.json" ] || { rm -rf "${work:?}/$1"; visemo prepare planted -o "$work/$1" "${@:2}"; }; }
plant corpus --minutes 100
plant people --minutes 3 --subjects 44 --takes 1 --seed 1 # many more faces that show what they feel
again() { [ -f "$work/$1/config.json" ] && echo --resume || true; }
# the two parts are trained side by side, one core each; a processor that multiplies in bfloat16 is twice as fast so
half=$(grep -qs amx_bf16 /proc/cpuinfo && echo True || echo False)
talk() {
    visemo train speech --half "$half" --data "$work/corpus" -o "$work/speech" $(again speech)
    # the same once more, mostly over telephones and in company: as good in a quiet room, better elsewhere
    visemo train speech --half "$half" --data "$work/corpus" --start "$work/speech" -o "$work/elsewhere" --steps 400 \
        --horizon 400 --rate 4e-4 --warmup 20 --hearing.wires 0.8 --hearing.babble 0.4 --validate-every 100 $(again elsewhere)
}
talk &
speech=$!
trap 'pkill -P "$speech" || true' EXIT
visemo train fusion --data "$work/corpus" --data "$work/people" -o "$work/fusion" $(again fusion)
wait "$speech"
visemo assemble "$work/elsewhere" "$work/fusion" -o "$work/model"
visemo evaluate --model "$work/model" --data "$work/corpus" -o "$work/report"
