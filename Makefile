# venv   the virtual environment, built once from constraints.txt
# demo   the built-in head speaks: films, GLB, takes and a contact sheet under out/demo
# test   every test that needs no GPU and no minutes
# lint   style, types, and which part may import which
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/complete

# without an NVIDIA driver the CPU build of torch does, at a tenth of the size
TORCH_INDEX ?= $(shell test "$$(uname -s)" = Linux && ! command -v nvidia-smi >/dev/null && \
	echo --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu)

.PHONY: venv demo test lint clean
venv: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check $(TORCH_INDEX) -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[dev,corpus]"
	touch $@

demo: venv
	$(BIN)/visemo demo -o out/demo

# two processes, a file each at a time; one thread in each, or they would wait for one another
test: venv
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

clean:
	rm -rf .venv out
