#!/usr/bin/env bash
# Contact sheets of the built-in head and the shipped model into docs/img, or another folder: people x expressions,
# every viseme, all 52 shapes and their sums, one sentence in seven emotions, and the four modes side by side.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python runs/gallery.py "${1:-docs/img}" ${2:+"$2"}
