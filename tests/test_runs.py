"""The paper's experiment end to end: from miniature VOCASET and Florence 4D as they are published to the tables."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from data.published import (
    IDENTITIES,
    RATE,
    SPEAKERS,
    hum,
    nodding,
    people,
    small_head,
    smile,
    talk,
    write_florence4d,
    write_vocaset,
)
from visemo.cli import main
from visemo.data.store import open_store
from visemo.face.library import save_face

ROOT = Path(__file__).resolve().parent.parent
SMALL_WAV2VEC = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def raw_folders(folder: Path) -> tuple[Path, Path]:
    """Twelve speakers with two sentences each, and the same twelve with a smile and a laugh."""
    head = small_head()
    heads = people(head.mesh, SPEAKERS)
    motions = {
        (who, f"sentence{n:02d}"): talk(head.mesh, 24 + 4 * n % 7, k + n)
        for k, who in enumerate(SPEAKERS)
        for n in (1, 21)
    }
    sounds = {name: (hum(len(motion) / 60), RATE) for name, motion in motions.items()}
    vocaset = write_vocaset(folder / "vocaset", head.mesh, heads, motions, sounds)
    at_rest = {IDENTITIES[who]: rest for who, rest in heads.items()}
    shown = {
        (who, label): nodding(rest + smile(head.mesh, 9, k, size), k)
        for k, (who, rest) in enumerate(at_rest.items())
        for label, size in (("Smile2", 1.0), ("Pleased", 0.6))
    }
    return vocaset, write_florence4d(folder / "florence", head.mesh, at_rest, shown)


def commands_of(script: str, *arguments: object, **environment: str) -> list[list[str]]:
    """What a script asks of visemo, in order: it is run with a visemo that only notes its words."""
    note = 'visemo() { printf "%s\\n" "$#" "$@" >> "$NOTES"; }; export -f visemo; exec bash "$@"'
    notes = Path(environment["NOTES"])
    words = ["bash", "-c", note, "bash", str(ROOT / "runs" / script), *map(str, arguments)]
    subprocess.run(words, env={**os.environ, **environment}, check=True)
    lines, found = iter(notes.read_text().splitlines()), []
    for count in lines:
        found.append([next(lines) for _ in range(int(count))])
    return found


def test_the_paper_from_raw_folders_to_tables(tmp_path):
    vocaset, florence = raw_folders(tmp_path)
    save_face(small_head().face, tmp_path / "face")
    encoder = json.dumps({"kind": "wav2vec2", "sizes": SMALL_WAV2VEC}, separators=(",", ":"))
    stages = commands_of(
        "paper.sh", vocaset, florence, tmp_path / "out", FACE=str(tmp_path / "face"), NOTES=str(tmp_path / "notes"),
        SPEECH=f"--steps 3 --validate-takes 1 --encoder {encoder}",
        FUSION="--steps 3 --batch 4 --pool 200 --speech-shapes 4 --expression-shapes 4",
    )  # fmt: skip
    verbs = ["doctor", "doctor", "prepare", "prepare", "train", "train", "assemble", "evaluate"]
    assert [words[0] for words in stages] == verbs
    assert [main(words) for words in stages] == [0] * len(stages)
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    rows = {row["name"]: row for row in metrics["rows"]}
    assert metrics["split"] == "paper" and {fact["source"] for fact in metrics["data"]} == {"vocaset", "florence4d"}
    assert rows["lve"]["n"] == 6 and np.isfinite([row["value"] for row in metrics["rows"]]).all()  # 3 speakers test
    # nobody is trained on under one name and tested on under another
    stores = [open_store(tmp_path / "out" / name) for name in ("vocaset", "florence4d")]
    seen, kept = (
        {store.sequence(id).subject for store in stores for id in store.split("paper")[part]}
        for part in ("train", "test")
    )
    assert len(kept) == 3 and len(seen) == 8 and seen.isdisjoint(kept)
