#!/usr/bin/env bash
# Makes the sentence that `visemo demo` speaks: flite's slt voice (its licence allows free use of its output).
set -euo pipefail
cd "$(dirname "$0")/.."
wav=$(mktemp --suffix .wav)
trap 'rm -f "$wav"' EXIT
flite -voice slt -t "I am so pleased to meet you. Maybe we both have a lot to say." -o "$wav"
.venv/bin/python - "$wav" src/visemo/embedded/speech.flac <<'PYTHON'
import sys

import soundfile

samples, rate = soundfile.read(sys.argv[1], dtype="int16")
soundfile.write(sys.argv[2], samples, rate, subtype="PCM_16", format="FLAC")
print(f"{sys.argv[2]}: {len(samples) / rate:.2f} s at {rate} Hz")
PYTHON
