"""The deformation fusion module: sizes, scale, blocks, modes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from visemo.geometry.geomap import GeometryMap
from visemo.models.fusion import Fusion, FusionConfig, fuse
from visemo.types import VisemoError


def grid_map(side: int, size: int) -> GeometryMap:
    """A square sheet of side x side vertices, its own flattening."""
    v, u = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    uv = np.stack([u.ravel(), v.ravel()], axis=1)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + side], 1), np.stack([corner + 1, corner + side + 1, corner + side], 1)]
    )
    return GeometryMap(uv, triangles.astype(np.int32), size)


def small(**changes) -> Fusion:
    torch.manual_seed(0)
    config = replace(FusionConfig.default(81), **changes)
    return Fusion(config, grid_map(9, config.map_size))


def frames(count: int, seed: int = 0) -> torch.Tensor:
    return 5e-3 * torch.randn(count, 81, 3, generator=torch.Generator().manual_seed(seed))


def test_paper_preset_has_the_published_size():
    with torch.device("meta"):
        fusion = Fusion(FusionConfig.paper(10857), grid_map(9, 128))
    parameters = sum(p.numel() for p in fusion.parameters())
    assert parameters == 4_471_360
    assert round(parameters * 4 / 1e6, 2) == 17.89
    assert sum(t.numel() for t in fusion.state_dict().values()) == parameters


def test_mlp_ablation_has_as_many_parameters_within_ten_percent():
    counts = []
    with torch.device("meta"):
        for config in (FusionConfig.paper(10857), replace(FusionConfig.paper(10857), geometry_map=False)):
            counts.append(sum(p.numel() for p in Fusion(config, grid_map(9, 128)).parameters()))
    assert 0.9 < counts[1] / counts[0] < 1.1


@pytest.mark.parametrize("geometry_map", [True, False])
def test_default_is_homogeneous_and_rests_at_rest(geometry_map):
    fusion = small(geometry_map=geometry_map)
    motion = frames(4)
    for encode in (fusion.encode_speech, fusion.encode_expression):
        whole = torch.cat(encode(motion), dim=1)
        for k in (0.25, 0.5, 1.5):
            torch.testing.assert_close(torch.cat(encode(k * motion), dim=1), k * whole, rtol=1e-4, atol=1e-6)
        assert torch.equal(torch.cat(encode(torch.zeros(1, 81, 3)), dim=1), torch.zeros(1, 64))
    assert torch.equal(fusion.decode(torch.zeros(1, 64)), torch.zeros(1, 81, 3))


@pytest.mark.parametrize("make", [FusionConfig.paper, FusionConfig.default])
def test_encoding_in_blocks_equals_encoding_at_once(make):
    config = make(81)
    torch.manual_seed(0)
    fusion = Fusion(config, grid_map(9, config.map_size)).eval()
    motion = frames(19)
    at_once = torch.cat(fusion.encode_speech(motion), dim=1)
    with torch.no_grad():
        blocks = torch.cat(fusion.encode_speech(motion), dim=1)
        maps = torch.cat(fusion.encode_speech_map(fusion.geomap.to_map(motion)), dim=1)
    torch.testing.assert_close(blocks, at_once, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps, at_once, rtol=1e-4, atol=1e-5)


def test_decode_is_the_basis_times_the_weights():
    fusion = small()
    weights = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    by_hand = torch.einsum("bk,kvc->bvc", weights, fusion.basis)
    torch.testing.assert_close(fusion.decode(weights), by_hand, rtol=1e-4, atol=1e-7)
    wanted = torch.randn(64, 81, 3)
    fusion.set_basis(wanted)
    torch.testing.assert_close(fusion.basis, wanted)


@pytest.mark.parametrize("changes", [{}, {"instance_norm": True}, {"geometry_map": False, "instance_norm": True}])
def test_rescaling_shapes_leaves_the_faces_alone(changes):
    fusion = small(**changes)
    motion = frames(3)
    before = [fusion.decode(torch.cat(e(motion), dim=1)) for e in (fusion.encode_speech, fusion.encode_expression)]
    weights = torch.cat(fusion.encode_speech(motion), dim=1)
    scale = torch.linspace(0.5, 3, 64)
    fusion.rescale(scale)
    after = [fusion.decode(torch.cat(e(motion), dim=1)) for e in (fusion.encode_speech, fusion.encode_expression)]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(torch.cat(fusion.encode_speech(motion), dim=1), weights / scale, rtol=1e-3, atol=1e-6)


def test_modes_put_each_weight_where_it_belongs():
    speech = (torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]))  # w_A, eps_A
    expression = (torch.tensor([[10.0, 20.0]]), torch.tensor([[30.0]]))  # eps_E, w_E
    assert fuse(speech, expression, "fused").tolist() == [[1, 2, 30]]
    assert fuse(speech, expression, "speech").tolist() == [[1, 2, 0]]
    assert fuse(speech, expression, "expression").tolist() == [[0, 0, 30]]
    assert fuse(speech, expression, "naive").tolist() == [[11, 22, 33]]
    with pytest.raises(VisemoError, match="mode: got 'sum', expected one of fused, speech, expression, naive"):
        fuse(speech, expression, "sum")  # type: ignore[arg-type]


def test_residual_form_equals_basis_form_where_nothing_is_lost():
    fusion = small()
    generator = torch.Generator().manual_seed(2)
    speech = torch.randn(5, 32, generator=generator), torch.randn(5, 32, generator=generator)
    expression = torch.randn(5, 32, generator=generator), torch.randn(5, 32, generator=generator)
    detail = frames(5)  # what the shapes cannot express survives in the residual form only
    dv_speech = fusion.decode(torch.cat(speech, dim=1)) + detail
    dv_expression = fusion.decode(torch.cat(expression, dim=1))
    residual = fusion.fuse_residual(dv_speech, dv_expression, speech, expression)
    basis = fusion.decode(fuse(speech, expression, "fused"))
    torch.testing.assert_close(residual, basis + detail, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"map_size": 60}, "map_size: got 60, expected a multiple of 16 for 4 blocks"),
        ({"linear_pool": 48}, "linear_pool: got 48, expected a divisor of 64"),
        ({"speech_shapes": 0}, "at least one vertex, shape and frame"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(VisemoError, match=message):
        replace(FusionConfig.default(81), **changes)


def test_a_map_of_another_size_is_refused():
    with pytest.raises(VisemoError, match="geometry map: got 32 pixels, expected 64"):
        Fusion(FusionConfig.default(81), grid_map(9, 32))
