"""From words on a command line to a verb that runs: parsing, the help pages, and errors in one line."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches

import tyro

from visemo.cli.about import Benchmark, Evaluate, Info
from visemo.cli.animate import Animate, Demo
from visemo.cli.avatar import Avatar
from visemo.cli.compare import Compare
from visemo.cli.data import Doctor, Fetch, Prepare
from visemo.cli.edit import Edit, Render
from visemo.cli.register import Register
from visemo.cli.retarget import Retarget
from visemo.cli.train import Assemble, Train
from visemo.cli.verb import Verb, say
from visemo.types import VisemoError

VERBS: dict[str, type[Verb]] = {
    "demo": Demo,
    "animate": Animate,
    "edit": Edit,
    "render": Render,
    "doctor": Doctor,
    "fetch": Fetch,
    "prepare": Prepare,
    "register": Register,
    "retarget": Retarget,
    "avatar": Avatar,
    "train": Train,
    "assemble": Assemble,
    "evaluate": Evaluate,
    "compare": Compare,
    "info": Info,
    "benchmark": Benchmark,
}

HELP = """\
visemo: speech and an expression in, an animated 3D face out.

usage: visemo VERB ...          visemo VERB --help explains one verb; visemo --version

{verbs}

examples:
  visemo demo -o demo
  visemo animate speech.wav --expression happy:0.8 -o take.npz -o take.mp4 -o take.glb
  visemo animate *.wav --expression sad --lively -o takes/
  visemo edit take.npz --expression angry:0.6 -o angry.mp4

The suffix of OUT picks the format: .mp4 film, .glb morph targets, .npz everything, .csv ARKit curves
(with --rig-map those of any rig; .curves.npz as arrays),
.png contact sheet, .wav the sound, a folder ending in / for an OBJ per frame.
Exit codes: 0 done, 1 some of several clips failed, 2 a mistake in what was asked, said in one line.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. Without arguments, those of the process."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except VisemoError as error:
        return _refuse(str(error), words)
    except OSError as error:  # a full disk, a file that vanished: the machine's refusal, not a bug
        return _refuse(f"{error.filename or 'file'}: {error.strerror or error}; check the path and the disk", words)
    except KeyboardInterrupt:
        return _refuse("interrupted", words) and 130


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        say(help_page(), end="")
        return 0
    if words[0] == "--version":
        from visemo import __version__

        say(f"visemo {__version__}")
        return 0
    verb = parse(words)
    return 0 if verb is None else verb.run()


def _refuse(message: str, words: list[str]) -> int:
    """One line on stderr, whatever the message holds, and from one of several processes that train together."""
    if words[:1] == ["train"] and "WORLD_SIZE" in os.environ:
        from visemo.training.distributed import spoken_for

        if spoken_for():
            return 2
    sys.stderr.write("visemo: " + " ".join(message.split()) + "\n")
    return 2


def help_page() -> str:
    """What `visemo --help` shows."""
    verbs = "\n".join(f"  {name:<10} {_first_line(verb)}" for name, verb in VERBS.items())
    return HELP.format(verbs=verbs)


def _first_line(verb: type[Verb]) -> str:
    return (verb.__doc__ or "").strip().splitlines()[0]


def parse(words: list[str]) -> Verb | None:
    """The verb that a command line asks for, ready to run; None when it asked for help and got it.

    Raises
    ------
    VisemoError
        For an unknown verb (with the list) and for whatever tyro finds wrong, in one line.
    """
    name, *rest = words
    if name not in VERBS:
        close = get_close_matches(name, VERBS, 1)
        hint = f"did you mean {close[0]}?" if close else "see visemo --help"
        raise VisemoError(f"got {name!r}, expected one of {', '.join(VERBS)}; {hint}")
    verb, complaint = VERBS[name], io.StringIO()
    try:
        # tyro draws boxes on stderr; here they are caught and said in one line
        with redirect_stderr(complaint):
            parsed, unknown = tyro.cli(verb, prog=f"visemo {name}", args=rest, return_unknown_args=True)
    except SystemExit as stop:
        if stop.code:
            raise VisemoError(f"{name}: {_unboxed(complaint.getvalue())}; see visemo {name} --help") from None
        say(verb.notes(rest))
        return None
    return parsed.with_options(unknown)


def _unboxed(text: str) -> str:
    """The sentence in one of tyro's error boxes, without frame, colours and the hints below the rule."""
    rows = [re.sub(r"\x1b\[[0-9;]*m", "", row).strip() for row in text.splitlines()]
    inside = [row.strip("│ ").strip() for row in rows if row.startswith("│")]
    rule = next((n for n, row in enumerate(inside) if row.startswith("───")), len(inside))
    return " ".join(inside[:rule]).rstrip(".") or " ".join(text.split())
