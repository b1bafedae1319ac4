#!/usr/bin/env bash
# How far the split holds where it was not found: the default's recipe on the ICT head, whose planted takes carry the
# other kind in another manner. Measured on held-out people of the corpus, and on two corpora that nothing was learned from.
#   runs/second_head.sh [OUT]
set -euo pipefail
work=${1:-out/second_head} ict=${ICT:-ict}
PATH="$(dirname "$0")/../.venv/bin:$PATH"
export OMP_NUM_THREADS=1
mkdir -p "$work"

again() { [ -f "$work/$1/config.json" ] && echo --resume || true; }
plant() { # what a broken-off preparation left is made anew
    [ -f "$work/$1/manifest.json" ] && return
    rm -rf "${work:?}/$1"
    visemo prepare planted --face "$ict" --manner other -o "$work/$1" "${@:2}"
}
plant corpus --minutes 24 --seed 29
plant people --minutes 3 --subjects 44 --takes 1 --seed 30
for seed in 53 71; do plant "unmet_$seed" --minutes 12 --seed "$seed"; done
visemo train speech --pretrained default --freeze True --face "$ict" --data "$work/corpus" -o "$work/speech" \
    --steps 400 --horizon 400 --rate 1e-3 --batch 16 --phones 0 --validate-every 100 $(again speech)
visemo train fusion --face "$ict" --data "$work/corpus" --data "$work/people" -o "$work/fusion" $(again fusion)
visemo assemble "$work/speech" "$work/fusion" --face "$ict" -o "$work/model"
visemo evaluate --model "$work/model" --data "$work/corpus" -o "$work/report"
for seed in 53 71; do visemo evaluate --model "$work/model" --data "$work/unmet_$seed" -o "$work/report_$seed"; done
