"""Published checkpoints, by the names and shapes they are known to have."""

import pickle

import pytest
import torch

from visemo.models.faceformer import VOCASET_SUBJECTS, load_faceformer
from visemo.types import VisemoError

VERTICES = 20


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name, size):
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def audio_shapes():
    shapes = {"masked_spec_embed": (768,)}
    for i, (kernel, channels) in enumerate(zip((10, 3, 3, 3, 3, 2, 2), (1, 512, 512, 512, 512, 512, 512))):
        shapes[f"feature_extractor.conv_layers.{i}.conv.weight"] = (512, channels, kernel)
    shapes |= norm("feature_extractor.conv_layers.0.layer_norm", 512)
    shapes |= norm("feature_projection.layer_norm", 512) | linear("feature_projection.projection", 768, 512)
    shapes["encoder.pos_conv_embed.conv.bias"] = (768,)
    shapes["encoder.pos_conv_embed.conv.weight_g"] = (1, 1, 128)
    shapes["encoder.pos_conv_embed.conv.weight_v"] = (768, 48, 128)
    shapes |= norm("encoder.layer_norm", 768)
    for i in range(12):
        layer = f"encoder.layers.{i}"
        for projection in "kvq":
            shapes |= linear(f"{layer}.attention.{projection}_proj", 768, 768)
        shapes |= linear(f"{layer}.attention.out_proj", 768, 768) | norm(f"{layer}.layer_norm", 768)
        shapes |= linear(f"{layer}.feed_forward.intermediate_dense", 3072, 768)
        shapes |= linear(f"{layer}.feed_forward.output_dense", 768, 3072) | norm(f"{layer}.final_layer_norm", 768)
    return {f"audio_encoder.{name}": shape for name, shape in shapes.items()}


def published_shapes(vertices=VERTICES, styles=8):
    shapes = audio_shapes() | {"PPE.pe": (1, 630, 64), "obj_vector.weight": (64, styles)}
    shapes |= linear("audio_feature_map", 64, 768) | linear("vertice_map", 64, 3 * vertices)
    shapes |= linear("vertice_map_r", 3 * vertices, 64)
    layer = "transformer_decoder.layers.0"
    for attention in ("self_attn", "multihead_attn"):
        shapes[f"{layer}.{attention}.in_proj_weight"] = (192, 64)
        shapes[f"{layer}.{attention}.in_proj_bias"] = (192,)
        shapes |= linear(f"{layer}.{attention}.out_proj", 64, 64)
    shapes |= linear(f"{layer}.linear1", 128, 64) | linear(f"{layer}.linear2", 64, 128)
    for i in (1, 2, 3):
        shapes |= norm(f"{layer}.norm{i}", 64)
    return shapes


def published_state(**sizes):
    """Small random weights outside the audio encoder; inside, one number per tensor keeps files small."""
    torch.manual_seed(0)
    return {
        name: torch.full((1,), 0.01).expand(shape) if name.startswith("audio_encoder") else torch.randn(shape)
        for name, shape in published_shapes(**sizes).items()
    }


def test_reads_the_published_layout_strictly(tmp_path):
    state = published_state()
    assert len(state) == 237
    torch.save(state, tmp_path / "vocaset.pth")
    model = load_faceformer(tmp_path / "vocaset.pth")
    assert model.config.vertices == VERTICES
    assert model.config.subjects == VOCASET_SUBJECTS
    assert not model.training
    read = model.state_dict()
    assert torch.equal(read["vertice_map_r.weight"], state["vertice_map_r.weight"])
    old = "audio_encoder.encoder.pos_conv_embed.conv"
    assert torch.equal(read[f"{old}.parametrizations.weight.original1"], state[f"{old}.weight_v"])
    weight, bias = model.output_basis()
    assert torch.equal(weight[:, 1, 2], state["vertice_map_r.weight"][5])
    assert torch.equal(bias.flatten(), state["vertice_map_r.bias"])


def damage(path, how):
    if how == "absent":
        return
    if how == "text":
        path.write_text("not a checkpoint")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        torch.save(published_state(), path)
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "code":
        path.write_bytes(pickle.dumps(Exploit(), protocol=2))
    elif how == "list":
        torch.save([torch.zeros(3)], path)
    elif how == "foreign":
        torch.save({"layer.weight": torch.zeros(3, 3)}, path)
    elif how == "flat":
        torch.save(published_state() | {"vertice_map_r.weight": torch.zeros(3)}, path)


class Exploit:
    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was run",))


@pytest.mark.parametrize("how", ["absent", "text", "empty", "truncated", "code", "list", "foreign", "flat"])
def test_a_damaged_or_foreign_file_is_one_clear_line(tmp_path, how):
    path = tmp_path / "model.pth"
    damage(path, how)
    with pytest.raises(VisemoError, match=r"model\.pth: got .*expected") as caught:
        load_faceformer(path)
    assert "\n" not in str(caught.value)


def test_a_missing_weight_is_named(tmp_path):
    state = published_state()
    del state["vertice_map.bias"]
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(VisemoError, match=r"does not fit FaceFormer.*vertice_map\.bias") as caught:
        load_faceformer(tmp_path / "model.pth")
    assert "\n" not in str(caught.value)


def test_other_numbers_of_speakers_need_their_names(tmp_path):
    torch.save(published_state(styles=3), tmp_path / "model.pth")
    with pytest.raises(VisemoError, match="3 styles, expected a multiple of 3 and 8 styles"):
        load_faceformer(tmp_path / "model.pth")


def test_the_biwi_variant_is_refused(tmp_path):
    state = {"vertice_map_r.weight": torch.zeros(60, 128), "obj_vector.weight": torch.zeros(128, 6)}
    torch.save(state, tmp_path / "biwi.pth")
    with pytest.raises(VisemoError, match="BIWI variant"):
        load_faceformer(tmp_path / "biwi.pth")
