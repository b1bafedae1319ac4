"""The default model on rigs: what each cannot show, in mm, as the table of docs/RETARGET.md.

    .venv/bin/python runs/retarget.py RIG [RIG...]

RIG is what `visemo retarget --rig` takes. Each row is the sentence that comes with the package, said with one
expression; the last line of a rig says how long the bounded solve takes.
"""

import sys
from time import perf_counter

import visemo
from visemo.animation.retarget.report import report_of
from visemo.animation.retarget.rig_map import RigMap
from visemo.assets import ASSETS
from visemo.cli.retarget import MEASURED_ON
from visemo.face.rigs.library import load_rig
from visemo.face.rigs.named import on_face


def main(names: list[str]) -> None:
    animator = visemo.load()
    face, model = animator.face, animator.model
    clips = {name: animator.animate(ASSETS / "speech.flac", name) for name in MEASURED_ON}
    for name in names:
        rig = load_rig(name, face)
        begin = perf_counter()
        carried, how = on_face(rig, face)
        driven = animator.fusion.config.speech_shapes if rig.visemes_only else None
        rig_map = RigMap.of(model.name, model.hash, animator.basis, face, carried, driven=driven)
        fitted = perf_counter() - begin
        report = report_of(rig_map, carried.shapes, face, clips)
        begin = perf_counter()
        frames = sum(len(rig_map.curves(clip)[0]) for clip in clips.values())
        rate = frames / (perf_counter() - begin)
        if name == names[0]:
            regions = " | ".join(report.takes[0].left_mm)
            sys.stdout.write(f"| rig | take | {regions} | lip gap, shut |\n{'|---' * 7}|\n")
        for take in report.takes:
            cells = " | ".join(f"{left:.2f} of {take.motion_mm[key]:.2f}" for key, left in take.left_mm.items())
            before, after = take.gap_mm
            sys.stdout.write(
                f"| {rig.name} ({len(rig.shape_names)}) | {take.name} | {cells} | {before:.2f} to {after:.2f} |\n"
            )
        sys.stderr.write(f"{rig.name}: {how}; fitted in {fitted:.1f} s, solved at {rate:.0f} frames a second\n")


if __name__ == "__main__":
    main(sys.argv[1:])
