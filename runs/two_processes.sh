#!/usr/bin/env bash
# Two processes against one with the doubled batch: losses at the first and the last steps, and how far apart they are.
# Nothing is dropped at random: two processes would drop other things than one does, and differ by that noise.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1
work=${1:-out/two_processes}
mkdir -p "$work"

[ -f "$work/store/manifest.json" ] || visemo prepare planted --tiny -o "$work/store"

cat > "$work/undropped.py" <<'PYTHON'
import sys
from functools import partial

from visemo.cli import main
from visemo.models.speech_motion import SpeechMotionConfig
from visemo.training import speech

speech.SpeechMotionConfig = partial(SpeechMotionConfig, dropout=0.0)
sys.exit(main())
PYTHON

compare() { # part, preset, steps, batch of each of two processes, further settings
    local run="$work/$1-$2" common=(--preset "$2" --steps "$3" --data "$work/store" --device cpu "${@:5}")
    rm -rf "$run"
    mkdir "$run"
    python "$work/undropped.py" train "$1" "${common[@]}" --batch $((2 * $4)) -o "$run/one"
    torchrun --standalone --nproc-per-node 2 "$work/undropped.py" train "$1" "${common[@]}" --batch "$4" -o "$run/two"
}
compare fusion default 60 16 --pool 400
compare fusion paper 20 4
compare speech default 100 4 --encoder '{"kind": "mel", "width": 64, "dropout": 0.0}'

python - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path

print("run              step   one process   two processes   difference")
for run in sorted(path for path in Path(sys.argv[1]).iterdir() if (path / "one").is_dir()):
    rows = [[json.loads(line) for line in (run / name / "log.jsonl").read_text().splitlines()] for name in ("one", "two")]
    losses = [[row["loss"] for row in some if "loss" in row] for some in rows]
    scores = [[row["val_score"] for row in some if "val_score" in row][-1] for some in rows]
    last = len(losses[0]) // 5
    shown = [(f"{n + 1}", *(some[n] for some in losses)) for n in (0, 1, 4)]
    shown.append((f"last {last}", *(sum(some[-last:]) / last for some in losses)))
    for step, one, two in (*shown, ("score", *scores)):
        print(f"{run.name:<15}  {step:<7}{one:>11.5f}   {two:>13.5f}   {abs(two / one - 1):>10.1e}")
PYTHON
