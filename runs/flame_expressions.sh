#!/usr/bin/env bash
# A model on FLAME's topology, one line a stage: expressions from meshes of apexes, talk from VOCASET's layout.
#   runs/flame_expressions.sh FLAME MESHES VOCASET [OUT]
# FLAME is a model file, MESHES what `visemo prepare expression-meshes` reads (EmoVOCA's), VOCASET the real one or what
# `runs/published.py` wrote of planted motion. Both are FLAME's vertices already: rows are taken as they are. The ears
# are the default model's.
set -euo pipefail
usage="usage: runs/flame_expressions.sh FLAME MESHES VOCASET [OUT]"
flame=${1:?$usage} meshes=${2:?$usage} vocaset=${3:?$usage} work=${4:-out/flame_expressions}
PATH="$(dirname "$0")/../.venv/bin:$PATH"
export OMP_NUM_THREADS=1
mkdir -p "$work"

again() { [ -f "$work/$1/config.json" ] && echo --resume || true; }
ready() { [ -f "$work/$1/manifest.json" ]; }
ready talk || visemo prepare vocaset "$vocaset" --face "$flame" -o "$work/talk"
ready faces || visemo prepare expression-meshes "$meshes" --face "$flame" -o "$work/faces"
visemo train fusion --face "$flame" --data "$work/talk" --data "$work/faces" -o "$work/fusion" \
    --steps 300 --horizon 300 --validate-every 100 $(again fusion)
visemo train speech --pretrained default --freeze True --face "$flame" --data "$work/talk" -o "$work/speech" --phones 0 \
    --steps 200 --horizon 200 --batch 16 --validate-every 50 --validate-takes 16 $(again speech)
visemo assemble "$work/speech" "$work/fusion" --face "$flame" -o "$work/model"
visemo evaluate --model "$work/model" --data "$work/talk" --data "$work/faces" -o "$work/report"
