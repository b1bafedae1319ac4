#!/usr/bin/env bash
# The paper's experiment from the folders as they were downloaded to the tables, one line a stage; each resumes.
#   runs/paper.sh VOCASET FLORENCE4D [OUT]
# FACE is the face all is laid on (builtin), TOPOLOGY a mesh with VOCASET's triangles where FLAME_sample.ply is not
# beside the data, SPEECH and FUSION are further options of the two trainings, such as SPEECH="--steps 2000".
set -euo pipefail
vocaset=${1:?usage: runs/paper.sh VOCASET FLORENCE4D [OUT]} florence=${2:?usage: runs/paper.sh VOCASET FLORENCE4D [OUT]}
work=${3:-out/paper} face=${FACE:-builtin} topology=${TOPOLOGY:+--topology $TOPOLOGY}
PATH="$(dirname "$0")/../.venv/bin:$PATH"
mkdir -p "$work"

again() { [ -f "$work/$1/config.json" ] && echo --resume || true; }
ready() { [ -f "$work/$1/manifest.json" ]; }
visemo doctor "$vocaset"
visemo doctor "$florence"
ready vocaset || visemo prepare vocaset "$vocaset" --face "$face" $topology -o "$work/vocaset"
ready florence4d || visemo prepare florence4d "$florence" --face "$face" -o "$work/florence4d"
visemo train speech --preset paper --split paper --face "$face" --data "$work/vocaset" -o "$work/speech" ${SPEECH:-} $(again speech)
visemo train fusion --preset paper --split paper --face "$face" --data "$work/vocaset" --data "$work/florence4d" -o "$work/fusion" ${FUSION:-} $(again fusion)
visemo assemble "$work/speech" "$work/fusion" --face "$face" -o "$work/model"
visemo evaluate --split paper --model "$work/model" --data "$work/vocaset" --data "$work/florence4d" -o "$work/report"
