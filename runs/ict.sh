#!/usr/bin/env bash
# A model on the ICT face from captures: speech from captured talk, expressions from captured faces, one line a stage.
#   runs/ict.sh TALK FACES [OUT]
# TALK has captures with sound, FACES captures without (visemo prepare captures). ICT is the ICT-FaceKit folder or
# pack (ict: the one that `visemo fetch ict` got). The ears are the default model's: minutes of talk teach no hearing.
set -euo pipefail
talk=${1:?usage: runs/ict.sh TALK FACES [OUT]} faces=${2:?usage: runs/ict.sh TALK FACES [OUT]}
work=${3:-out/ict} ict=${ICT:-ict}
PATH="$(dirname "$0")/../.venv/bin:$PATH"
export OMP_NUM_THREADS=1
mkdir -p "$work"

again() { [ -f "$work/$1/config.json" ] && echo --resume || true; }
ready() { [ -f "$work/$1/manifest.json" ]; }
ready talk || visemo prepare captures "$talk" --face "$ict" -o "$work/talk"
ready faces || visemo prepare captures "$faces" --face "$ict" -o "$work/faces"
visemo train speech --pretrained default --face "$ict" --data "$work/talk" -o "$work/speech" \
    --freeze True --steps 400 --horizon 400 --rate 1e-3 --batch 16 --basis-size 16 --phones 0 --validate-every 50 $(again speech)
visemo train fusion --face "$ict" --data "$work/talk" --data "$work/faces" -o "$work/fusion" --steps 300 --horizon 300 $(again fusion)
visemo assemble "$work/speech" "$work/fusion" --face "$ict" -o "$work/model"
visemo evaluate --model "$work/model" --data "$work/talk" --data "$work/faces" -o "$work/report"
