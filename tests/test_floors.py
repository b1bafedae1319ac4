"""Imports only go down, or stay in their own folder: a walk over every file's syntax tree."""

import ast
from pathlib import Path

import pytest

import visemo

PACKAGE = Path(visemo.__file__).parent
FLOORS = {
    "units": 0, "types": 0, "assets": 0, "compiled": 0,
    "media": 1, "geometry": 1,
    "face": 2, "avatar": 2, "evaluate.metrics": 2, "evaluate.separation": 2,
    "data": 3, "models": 3, "evaluate.vertex_sets": 3,
    "avatar.from_face": 5, "avatar.fit": 5,
    "training": 4, "animation": 4, "render": 4,
    "export": 5, "evaluate.report": 5, "evaluate": 5, "benchmark": 5,
    "cli": 7, "__main__": 7, "__init__": 7,
}  # fmt: skip
FORBIDDEN = {("models", "data"), ("models", "training"), ("animation", "training"), ("animation", "render")}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """`visemo/models/fusion.py` -> `models.fusion`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int:
    """The floor of a module: the longest name in the table that it begins with."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(FLOORS[name] for name in names if name in FLOORS)


def imports_of(path: Path, deferred: bool = True) -> set[str]:
    """Modules of the package that a file names in an import: at any depth of its code, or when it is loaded only."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if deferred else tree.body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            source = node.module or ""
            if source == "visemo":
                found |= {
                    name.name if (PACKAGE / name.name).exists() or is_file(name.name) else "__init__"
                    for name in node.names
                }
            elif source.startswith("visemo."):
                found.add(source.removeprefix("visemo."))
        elif isinstance(node, ast.Import):
            found |= {name.name.removeprefix("visemo.") for name in node.names if name.name.startswith("visemo.")}
    return found


def is_file(name: str) -> bool:
    return (PACKAGE / f"{name}.py").exists()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_only_from_below_or_its_own_folder(path):
    own = module_of(path)
    folder = own.split(".")[0]
    for module in imports_of(path):
        other = module.split(".")[0]
        inside = other == folder and len(path.relative_to(PACKAGE).parts) > 1
        assert inside or floor_of(module) < floor_of(own) or floor_of(own) == floor_of(module) in (0, 7), (
            f"{own} imports {module}"
        )
        assert (folder, other) not in FORBIDDEN, f"{own} imports {module}"


def test_no_module_loads_itself_by_a_detour():
    names = {module_of(path) for path in FILES}
    graph = {module_of(path): imports_of(path, deferred=False) & names for path in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    assert len(graph["models.checkpoint"]) > 3, "the graph has edges"


def test_the_walk_sees_what_it_should():
    imports = imports_of(PACKAGE / "animation" / "animator.py")
    assert {"models.fusion", "media", "animation.guard"} <= imports
    assert floor_of("evaluate.metrics") == 2 and floor_of("evaluate.report") == 5 and floor_of("models.fusion") == 3
