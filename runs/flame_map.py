"""L_G of the default model, measured: residual beside FLAME's own best, and lip closures before and after the map.

.venv/bin/python runs/flame_map.py FLAME RECORDINGS RUN [EXPRESSIONS]

FLAME is a model file; EXPRESSIONS are shapes in FLAME's topology that stand in for its expression components, for the
open pack without them. RECORDINGS holds sound files with `NAME.phones.json`. RUN is a folder that
`visemo train flame-map` made of the same files, or a new one that gets the map.
"""

import sys
from pathlib import Path

import torch

import visemo
from visemo.evaluate.articulation import articulation, read_phones
from visemo.evaluate.metrics import crossing, lip_gap
from visemo.face.flame import FlameModel, read_flame
from visemo.face.flame_expressions import with_expressions
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_on_face import FlameOnFace
from visemo.models.flame_map import FILE, FlameMap
from visemo.training.flame_map import TABLE
from visemo.training.recipes import FlameMapRecipe, train_flame_map
from visemo.types import Animation, FloatArray

EMOTIONS = ("neutral", "happy", "sad", "angry", "disgust", "fear", "surprise")
say = sys.stdout.write


@torch.inference_mode()
def through(known: FlameMap, layer: FlameLayer, ground: FlameOnFace, clip: Animation) -> FloatArray:
    """Vertices (T, V, 3) m of a clip after the map, FLAME's layer and the way back to the model's face."""
    params = known.params(clip.weights, clip.fps)
    posed = layer(expression=torch.from_numpy(params.expression), jaw=torch.from_numpy(params.jaw_pose))
    return clip.template + ground.carry((posed - layer()).numpy())


def closures(known: FlameMap, flame: FlameModel, ground: FlameOnFace, folder: Path) -> None:
    """/p b m/ that shut and open vowels that open, of all, and the mean difference of the lip gap, mm."""
    animator, layer = visemo.load(), FlameLayer(flame)
    face = animator.face
    clips = [(path.with_name(path.name.replace(".phones.json", ".wav")), path) for path in folder.glob("*.phones.json")]
    say(f"{'':10}{'closures before':>17}{'after':>9}{'vowels before':>15}{'after':>9}{'gap off':>9}{'crossing':>10}\n")
    total = {"closures": [0, 0, 0], "vowels": [0, 0, 0]}
    for emotion in EMOTIONS:
        row, off, deepest = {"closures": [0, 0, 0], "vowels": [0, 0, 0]}, [], 0.0
        for sound, timed in sorted(clips):
            clip, phones = animator.animate(sound, emotion), read_phones(timed)
            shown = clip.vertices, through(known, layer, ground, clip)
            gaps = [lip_gap(vertices, face.lip_pairs) for vertices in shown]
            off.append(abs(gaps[1] - gaps[0]).mean())
            deepest = max(deepest, crossing(shown[1], face.lip_pairs).max())
            found = [articulation(gap, phones, face) for gap in gaps]
            counts = {
                "closures": [*(a.shut for a in found), len(found[0].closures)],
                "vowels": [*(a.open for a in found), len(found[0].vowels)],
            }
            for sums in (row, total):
                for name, values in counts.items():
                    sums[name] = [a + b for a, b in zip(sums[name], values)]
        (b, a, n), (vb, va, vn) = row["closures"], row["vowels"]
        say(f"{emotion:10}{f'{b}/{n}':>17}{f'{a}/{n}':>9}{f'{vb}/{vn}':>15}{f'{va}/{vn}':>9}")
        say(f"{sum(off) / len(off):>9.2f}{deepest:>10.2f}\n")
    before, after, count = total["closures"]
    say(f"closure recall {100 * before / count:.1f} % before, {100 * after / count:.1f} % after the map\n")


def main(flame: Path, recordings: Path, run: Path, expressions: Path | None = None) -> None:
    body = read_flame(flame) if expressions is None else with_expressions(read_flame(flame), expressions)
    model = visemo.load().model
    ground = FlameOnFace.of(body, model.face)
    if not (run / FILE).exists():
        train_flame_map(FlameMapRecipe.default(), model, body, run, ground=ground)
    known = FlameMap.load(run)
    known.check_model(model.hash)
    known.check_flame(body)
    say((run / TABLE).read_text(encoding="utf-8") + "\n")
    closures(known, body, ground, recordings)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
