"""Running node and Blender on the files that were written; a skip with its reason where they are missing."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "js"


@pytest.fixture(scope="session")
def node() -> Callable[..., dict]:
    """node(script, *arguments): the JSON that a script of tests/js prints."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    wanted = "require.resolve('gltf-validator'); require.resolve('three')"
    if subprocess.run(["node", "-e", wanted], cwd=SCRIPTS, capture_output=True, check=False).returncode:
        pytest.skip("node packages missing: npm install --prefix tests/js, or set NODE_PATH to their folder")

    def run(script: str, *arguments: object) -> dict:
        command = ["node", str(SCRIPTS / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def blender(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, float], dict]:
    """blender(file, fps): what Blender's importer makes of a GLB."""
    if shutil.which("blender") is None:
        pytest.skip("blender is not installed")
    home = tmp_path_factory.mktemp("blender")

    def run(path: Path, fps: float) -> dict:
        script = ["--python-exit-code", "1", "--python", str(SCRIPTS / "import_blender.py")]
        command = ["blender", "-b", "--factory-startup", *script, "--", str(path), str(fps)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "HOME": str(home)}
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("IMPORTED ")]
        if "No module named 'numpy'" in done.stdout + done.stderr:
            pytest.skip("blender has no numpy, which its glTF importer needs (Debian: python3-numpy)")
        assert done.returncode == 0 and lines, done.stdout + done.stderr
        return json.loads(lines[0].removeprefix("IMPORTED "))

    return run
