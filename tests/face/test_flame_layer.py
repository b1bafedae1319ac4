"""FLAME's layer against a slow twin in loops, exact where it can be, with checked gradients."""

import sys

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from face.flame_models import open_model, random_model
from visemo.face.flame import FlameModel
from visemo.face.flame_layer import FlameLayer, rotations_minus_identity
from visemo.types import VisemoError
from visemo.units import MM_PER_M

SOME = np.random.default_rng(0).choice(5023, 200, replace=False)
WIDTHS = {"rotation": 3, "neck": 3, "jaw": 3, "eyes": 6, "translation": 3}


@pytest.fixture(scope="module", params=["random numbers", "open pack"])
def model(request) -> FlameModel:
    if request.param == "random numbers":
        return random_model()
    return open_model(request.getfixturevalue("shared_data"))


@pytest.fixture(scope="module")
def layer(model) -> FlameLayer:
    return FlameLayer(model)


def say(line: str) -> None:
    """Figures to read with `pytest -s`."""
    sys.stdout.write(f"{line}\n")


def random_parameters(model: FlameModel, batch: int, turn: float = 0.6) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(batch)
    draw = lambda *size: torch.randn(*size, generator=chance, dtype=torch.float64)  # noqa: E731
    given = {"shape": draw(batch, model.n_shape), "expression": draw(batch, model.n_expr)}
    given |= {name: turn * draw(batch, width) for name, width in WIDTHS.items()}
    return given | {"static_offset": 0.003 * draw(batch, 5023, 3)}


def twin(model: FlameModel, given: dict[str, np.ndarray], vertices: np.ndarray) -> np.ndarray:
    """The published order of operations for one frame, in loops over vertices and joints: (N, 3) float64."""
    betas = np.concatenate([given["shape"], given["expression"]])
    shaped = np.zeros((5023, 3))
    for vertex in range(5023):
        shaped[vertex] = model.v_template[vertex].astype(float) + model.shapedirs[vertex].astype(float) @ betas
        shaped[vertex] += given["static_offset"][vertex]
    joints = [sum(float(model.joint_regressor[j, v]) * shaped[v] for v in np.flatnonzero(model.joint_regressor[j]))
              for j in range(5)]  # fmt: skip
    pose = np.concatenate([given[name] for name in ("rotation", "neck", "jaw", "eyes")]).reshape(5, 3)
    turns = [Rotation.from_rotvec(vector).as_matrix() for vector in pose]
    feature = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    transforms: list[np.ndarray] = []
    for joint, parent in enumerate(model.parents):
        local = np.eye(4)
        local[:3, :3] = turns[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        transforms.append(transforms[parent] @ local if parent >= 0 else local)
    posed = np.zeros((len(vertices), 3))
    for row, vertex in enumerate(vertices):
        corrected = shaped[vertex] + model.posedirs[vertex].astype(float) @ feature
        for joint in range(5):
            transform = transforms[joint]
            place = transform[:3, :3] @ (corrected - joints[joint]) + transform[:3, 3]
            posed[row] += float(model.weights[vertex, joint]) * place
    return posed + given["translation"]


def test_equals_a_slow_twin(model, layer):
    given = random_parameters(model, 3)
    expected = np.stack([twin(model, {k: v[i].numpy() for k, v in given.items()}, SOME) for i in range(3)])
    off = np.abs(layer(**{name: value.float() for name, value in given.items()})[:, SOME].numpy() - expected).max()
    exact = np.abs(FlameLayer(model).double()(**given)[:, SOME].numpy() - expected).max()
    say(f"FLAME layer against its slow twin, 200 vertices x 3 frames: {off:.2e} m in float32, {exact:.2e} m in float64")
    assert off < 1e-6 and exact < 1e-7  # the skinning weights sum to 1 within 1e-7 only


def test_the_rest_is_the_template_to_the_last_bit(model, layer):
    zeros = {name: torch.zeros(2, width) for name, width in WIDTHS.items()}
    zeros |= {
        "shape": torch.zeros(2, model.n_shape),
        "expression": torch.zeros(2, 0),
        "static_offset": torch.zeros(5023, 3),
    }
    for vertices in (layer(), layer(**zeros)):
        assert vertices.dtype == torch.float32
        for frame in vertices:
            assert np.array_equal(frame.numpy(), model.v_template)


def test_turning_the_root_is_rigid(model):
    layer = FlameLayer(model).double()
    given = random_parameters(model, 4)
    shaped = {"shape": given["shape"], "static_offset": given["static_offset"]}
    rest = layer.posed(**shaped)
    turned = layer.posed(**shaped, rotation=given["rotation"], translation=given["translation"])
    matrix = torch.from_numpy(Rotation.from_rotvec(given["rotation"].numpy()).as_matrix())
    root = rest.joints[:, :1]
    for before, after in zip(rest, turned):
        expected = (before - root) @ matrix.transpose(1, 2) + root + given["translation"][:, None]
        assert (after - expected).abs().max() < 2e-8
    lengths = [(posed.vertices[:, SOME[1:]] - posed.vertices[:, SOME[:1]]).norm(dim=-1) for posed in (rest, turned)]
    assert (lengths[0] - lengths[1]).abs().max() < 2e-8


def test_joints_move_with_their_parents(shared_data):
    model = open_model(shared_data)
    layer = FlameLayer(model).double()
    rest = layer.posed().joints[0]
    turned = layer.posed(neck=torch.tensor([[0.0, 0.4, 0.0]], dtype=torch.float64)).joints[0]
    matrix = torch.from_numpy(Rotation.from_rotvec([0, 0.4, 0]).as_matrix())
    assert torch.allclose(turned[:2], rest[:2], atol=1e-15)  # root and neck stay
    assert torch.allclose(turned[2:], (rest[2:] - rest[1]) @ matrix.T + rest[1], atol=1e-12)
    eyeballs = torch.from_numpy(np.stack([model.v_template[3931:4477].mean(0), model.v_template[4477:].mean(0)]))
    assert (rest[3:] - eyeballs).norm(dim=1).max() < 2e-3  # the eyes' joints are about their centres


def of_few_vertices(model: FlameModel, few: np.ndarray) -> FlameLayer:
    """The layer on some of the vertices, whose joints follow these alone: gradients are checked number by number."""
    layer = FlameLayer(model).double()
    entries = (3 * few[:, None] + np.arange(3)).ravel()
    layer.v_template, layer.weights = layer.v_template[few], layer.weights[few]
    layer.identity, layer.expression = layer.identity[:, entries], layer.expression[:, entries]
    layer.posedirs = layer.posedirs[:, entries]
    layer.joint_regressor = torch.eye(5, len(few), dtype=torch.float64) * 0.7 + 0.3 / len(few)
    return layer


@pytest.mark.parametrize("turn", [0.0, 1e-9, 0.05, 0.5], ids=["at rest", "nearly", "small", "large"])
def test_gradients(turn):
    layer = of_few_vertices(random_model(), SOME[:5])
    given = random_parameters(random_model(), 1, turn)
    given["static_offset"] = given["static_offset"][:, :5]
    for name in ("shape", "expression"):
        given[name] = (turn > 0) * given[name][:, :2]
    inputs = [value.clone().requires_grad_(value.numel() > 0) for value in given.values()]
    assert torch.autograd.gradcheck(lambda *values: layer(**dict(zip(given, values))), inputs, eps=1e-6, atol=1e-8)
    say(f"gradcheck passed at rotations of {turn:g} rad x N(0, 1): {', '.join(given)}")


def test_rotations_equal_scipys_at_every_size():
    axis = torch.tensor([[0.6, -0.48, 0.64]], dtype=torch.float64)
    sizes = torch.tensor([0, 1e-12, 1e-6, 1e-3, 0.05, 0.0999, 0.1001, 0.5, 2.0, np.pi, 4.0, 6.2], dtype=torch.float64)
    vectors = sizes[:, None] * axis
    expected = Rotation.from_rotvec(vectors.numpy()).as_matrix() - np.eye(3)
    np.testing.assert_allclose(rotations_minus_identity(vectors).numpy(), expected, atol=2e-15)
    tiny = rotations_minus_identity(vectors[1:2])[0].numpy()
    assert tiny[2, 1] == pytest.approx(0.6e-12, rel=1e-12)  # no digit is lost to the identity
    assert torch.autograd.gradcheck(rotations_minus_identity, vectors.clone().requires_grad_())


@pytest.mark.parametrize("jaw, opening", [(0.1, 12.1), (0.2, 22.5), (0.3, 32.8)])
def test_the_jaw_opens_the_inner_lips(shared_data, jaw, opening):
    """Between the pack's own landmarks in the middle of the inner lips, MediaPipe's 13 and 14 (iBUG 62 and 66)."""
    model = open_model(shared_data)
    vertices = FlameLayer(model)(jaw=torch.tensor([[jaw, 0.0, 0.0]]))[0].numpy()
    points = model.landmark_points(vertices)
    gap = MM_PER_M * float(np.linalg.norm(points[62] - points[66]))
    say(f"jaw {jaw} rad: inner lips {gap:.2f} mm apart")
    assert gap == pytest.approx(opening, abs=0.06)


def test_batches_of_one_go_with_any(model, layer):
    jaws = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0.2, 0.05, 0]])
    shape = torch.ones(1, 2)
    together = layer(shape, jaw=jaws)
    assert together.shape == (3, 5023, 3)
    for one, jaw in zip(together, jaws):
        assert torch.allclose(one, layer(shape, jaw=jaw[None])[0], atol=1e-7)
    offset = torch.full((3, 5023, 3), 0.01)
    assert torch.allclose(layer(static_offset=offset), layer().expand(3, -1, -1) + 0.01, atol=1e-7)
    assert layer(jaw=torch.zeros(0, 3)).shape == (0, 5023, 3)


def test_fewer_coefficients_are_the_first_ones(model, layer):
    shape = torch.randn(2, model.n_shape)
    cut = shape.clone()
    cut[:, 2:] = 0
    assert torch.allclose(layer(shape[:, :2]), layer(cut), atol=1e-7)


def test_no_checkpoint_holds_the_model(layer):
    assert not layer.state_dict() and not list(layer.parameters())


def test_bad_parameters_are_refused(model, layer):
    for name, value, said in (
        ("jaw", torch.zeros(2, 6), r"FLAME jaw: got shape \(2, 6\), expected \(B, 3\)"),
        ("eyes", torch.zeros(6), r"FLAME eyes: got shape \(6,\), expected \(B, 6\)"),
        ("shape", torch.zeros(1, 301), rf"FLAME shape: got shape \(1, 301\), expected \(B, at most {model.n_shape}\)"),
        ("expression", torch.zeros(1, 100), rf"at most {model.n_expr}\), all that .* has"),
        ("static_offset", torch.zeros(5143, 3), r"static_offset: got shape \(5143, 3\), expected \(5023, 3\)"),
    ):
        with pytest.raises(VisemoError, match=said):
            layer(**{name: value})
    with pytest.raises(VisemoError, match=r"got batches of \[2, 3\], expected one length"):
        layer(jaw=torch.zeros(2, 3), neck=torch.zeros(3, 3))
    with pytest.raises(VisemoError, match="got parameters chin, expected some of shape, expression"):
        layer.posed(chin=torch.zeros(1, 3))
