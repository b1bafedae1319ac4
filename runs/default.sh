#!/usr/bin/env bash
# The shipped weights from nothing: corpus, captured talk, speech model, fusion module, model folder, and what they
# measure. Needs the speech engines named in the README, and FACEGOOD's five clips (MIT) as NAME.npz beside NAME.flac in
# the folder CAPTURES; without them the model learns from the planted corpus alone. Every stage resumes where it was cut
# off.
#
#     runs/default.sh [OUT] [CAPTURES]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
work=${1:-out/default}
captures=${2:-${VISEMO_SHARED_DATA:-../shared/data}/motion/speech_facegood_zh}
mkdir -p "$work"

prepared() { [ -f "$work/$1/manifest.json" ] || { rm -rf "${work:?}/$1"; return 1; }; }
prepared corpus || visemo prepare planted --minutes 100 -o "$work/corpus"
talk=(--data "$work/corpus")
if [ -d "$captures" ]; then
    prepared captured || visemo prepare captures "$captures" -o "$work/captured"
    talk+=(--data "$work/captured")
else
    echo "$captures: no captured talk; training on the planted corpus alone"
fi
again() { [ -f "$work/$1/checkpoint.pt" ] && echo --resume || true; }
# the two parts are trained side by side, one core each
visemo train speech "${talk[@]}" -o "$work/speech" $(again speech) &
visemo train fusion --data "$work/corpus" -o "$work/fusion" $(again fusion)
wait $!
visemo assemble "$work/speech" "$work/fusion" -o "$work/model"
visemo evaluate --model "$work/model" --data "$work/corpus" -o "$work/report"
