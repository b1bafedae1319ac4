"""The recipe `fusion`: the deformation fusion module, with the published objective or with the split as its teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from visemo.face.face import Face
from visemo.face.maps import geometry_map
from visemo.geometry.laplacian import graph_laplacian, sparse_tensor
from visemo.geometry.regions import vertex_weights
from visemo.models import losses
from visemo.models.checkpoint import save_model
from visemo.models.expressions import ExpressionLibrary, without_blinks
from visemo.models.fusion import Fusion, FusionConfig, MapEncoder
from visemo.training.corpus import Corpus, Recording, thin
from visemo.training.distributed import World, join
from visemo.training.frames import CHUNK, FrameBatch, FramePool, draw_pool
from visemo.training.group import Group
from visemo.training.loop import Plan, choose_device, cosine, fit, open_run
from visemo.training.pca import MotionBasis, principal_motion
from visemo.training.split import Split, SplitConfig, closed_form_split
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS, M_PER_MM, MM_PER_M

NOISE = 0.1  # mm of noise per vertex that the linear encoders are made robust to; it also suits unmet faces
TAKES_PER_LABEL = 3  # of each expression, in the library
LINEAR_SHARE = 0.01  # of the learning rate
SPLIT_FRAMES = 5000  # of each data set, for the motion basis of the split
HELD_FRAMES = 256  # of each data set, for validation
KINDS = ("speech", "expression")


@dataclass(frozen=True)
class FusionRecipe:
    """How the fusion module is trained; `paper()` and `default()` are the two presets.

    steps, horizon : optimiser steps, and the step at which the falling learning rate reaches its
        floor (0 keeps it constant)
    network : "paper" or "default" of FusionConfig
    geometry_map : False encodes flattened displacements by an MLP (ablation)
    objective : "paper" lets the leaks fall where the penalties put them; "split" teaches the
        closed-form split to the end of training
    rate, batch : learning rate, frames of each data set per step; of several processes each takes as many, so that
        two of them learn what one learns from the doubled batch
    sparsity, laplace, regularisation, group : weights of Eq. 9, Eq. 12, the l2 term, and the price of
        using a blendshape; 0 leaves a term out (ablations)
    anchor : weight of the split's targets
    unit_norm : hold every blendshape at 1 mm root mean square, so that penalties cannot be dodged
    squared : the square of Eq. 11's norm
    lips : weight of lip vertices in Eq. 11 (eyes and brows 2, rest 1)
    shrink : frames are scaled by a factor drawn from shrink..1.5; displacements are linear, so those
        are faces too; 1 leaves frames as they are
    pool : frames of each data set held in memory, 0 for all; the processes of one machine hold them together
    vertices : vertices, drawn anew at every step, at which losses are measured; 0 for all
    """

    steps: int
    horizon: int = 0
    network: Literal["paper", "default"] = "paper"
    geometry_map: bool = True
    speech_shapes: int = 32
    expression_shapes: int = 32
    objective: Literal["paper", "split"] = "paper"
    rate: float = 3e-4
    batch: int = 128
    sparsity: float = 0.01
    laplace: float = 0.01
    regularisation: float = 1e-3
    group: float = 0.0
    anchor: float = 0.0
    unit_norm: bool = False
    squared: bool = False
    lips: float = 4.0
    shrink: float = 1.0
    pool: int = 0
    vertices: int = 0
    division: SplitConfig = field(default_factory=SplitConfig)
    split: str = "faceformer"
    validate_every: int = 200
    save_every: int = 200
    patience: int = 0
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.network not in ("paper", "default") or self.objective not in ("paper", "split"):
            raise VisemoError(
                f"fusion recipe: got network {self.network!r} and objective {self.objective!r}, "
                "expected paper or default, and paper or split"
            )
        if not 0 <= self.shrink <= 1:
            raise VisemoError(f"shrink: got {self.shrink}, expected 0 to 1")

    @classmethod
    def paper(cls, steps: int = 400_000) -> FusionRecipe:
        """As published: Adam 3e-4, 128 frames of each data set, Eq. 9, 11, 12 and l2; frames of every size, which
        instance norm does not learn to tell apart by itself."""
        return cls(steps, shrink=0.1)

    @classmethod
    def default(cls, steps: int = 2500) -> FusionRecipe:
        """The lean network, begun at the closed-form split and taught by it."""
        return cls(
            steps, horizon=2500, network="default", objective="split", sparsity=2e-3, group=2e-3, anchor=3.0,
            unit_norm=True, pool=12_000, vertices=2000,
        )  # fmt: skip

    def network_config(self, vertices: int) -> FusionConfig:
        """Settings of the network for a face of `vertices` vertices."""
        preset = FusionConfig.paper(vertices) if self.network == "paper" else FusionConfig.default(vertices)
        return replace(
            preset, geometry_map=self.geometry_map, speech_shapes=self.speech_shapes,
            expression_shapes=self.expression_shapes,
        )  # fmt: skip


def train_fusion(
    recipe: FusionRecipe,
    data: Sequence[Path | str],
    face: Face,
    run: Path | str,
    *,
    resume: bool = False,
    device: str = "auto",
) -> dict[str, float]:
    """Train the fusion module on speech and expression takes of `data` and leave it, with the expression
    library, in `run`/model.

    Returns
    -------
    {"score", "step"}: the objective on held-out frames, and where it was reached

    Raises
    ------
    VisemoError
        for data of another face or without one of the two kinds, and as `open_run` and `fit`
    """
    with join(choose_device(device)) as world:
        corpus = Corpus(data, face, recipe.split)
        run = open_run(run, {"kind": "fusion", "recipe": asdict(recipe), "data": corpus.facts}, resume, world)
        torch.manual_seed(recipe.seed)
        task = FusionTask(recipe, corpus, world.device, world)
        plan = Plan(
            recipe.steps, recipe.validate_every, recipe.save_every, recipe.patience, seed=recipe.seed,
            tensorboard=recipe.tensorboard,
        )  # fmt: skip
        return fit(task, run, plan, world)


class FusionTask:
    """Both encoders and the decoder on random frames of both data sets.

    Of several processes the first one finds the split and the linear start, for all.
    """

    def __init__(self, recipe: FusionRecipe, corpus: Corpus, device: torch.device, world: World | None = None) -> None:
        face = corpus.face
        self.recipe, self.corpus, self.device, self.world = recipe, corpus, device, world or World()
        self.recordings = {kind: corpus.takes("train", kind) for kind in KINDS}
        self.laplacian = sparse_tensor(graph_laplacian(face.triangles, len(face.template)))
        self.omega = torch.from_numpy(vertex_weights(face.regions, len(face.template), lips=recipe.lips))
        self.lips = torch.from_numpy(np.asarray(face.region("lips"), np.int64))
        config = recipe.network_config(len(face.template))
        self.model = Fusion(config, geometry_map(face, config.map_size))
        self.split = self.world.once(self._closed_form) if recipe.objective == "split" else None
        self.pools = {kind: self._pool(self.recordings[kind], recipe.pool) for kind in KINDS}
        self.held = {kind: self._pool(corpus.takes("val", kind), HELD_FRAMES) for kind in KINDS}
        if recipe.network == "default" and self.world.is_writer:
            begin_linear(self.model, self.pools["speech"], self.pools["expression"], self.omega)
        self.model.to(device)
        self.laplacian, self.omega = self.laplacian.to(device), self.omega.to(device)
        self.optimizer = torch.optim.Adam(self._parameter_groups(), lr=recipe.rate)

    def _pool(self, recordings: Sequence[Recording], limit: int) -> FramePool:
        return self.world.hold(
            lambda: draw_pool(
                recordings, limit, self.recipe.seed, model=self.model, laplacian=self.laplacian, split=self.split
            )
        )

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """The linear paths, which start where they should be and read thousands of pixels at once, move slowly."""
        encoders = (self.model.speech_encoder, self.model.expression_encoder)
        slow = [e.linear.weight for e in encoders if isinstance(e, MapEncoder) and e.linear is not None]
        others = [p for p in self.model.parameters() if not any(p is q for q in slow)]
        return [{"params": others}, *([{"params": slow, "share": LINEAR_SHARE}] if slow else [])]

    def _closed_form(self) -> Split:
        """The split, from the whole takes of the training set."""
        face = self.corpus.face
        speech, expression = self.recordings["speech"], self.recordings["expression"]
        both = [(r, thin(speech, SPLIT_FRAMES)) for r in speech] + [
            (r, thin(expression, SPLIT_FRAMES)) for r in expression
        ]
        motion = principal_motion(
            lambda: (b for recording, stride in both for b in recording.blocks(stride)),
            self.recipe.division.components, torch.ones(len(face.template)), self.recipe.seed,
        )  # fmt: skip
        return closed_form_split(
            face, motion,
            Group([_coordinates(r, motion) for r in speech], [r.speaker for r in speech]),
            Group([_coordinates(r, motion) for r in expression], [r.take.label for r in expression]),
            self.recipe.division,
        )  # fmt: skip

    def rate(self, step: int) -> float:
        recipe = self.recipe
        return recipe.rate * (cosine(step, recipe.horizon) if recipe.horizon else 1.0)

    def losses(self, step: int) -> dict[str, Tensor]:
        recipe, share = self.recipe, self.world.share
        random = np.random.default_rng([recipe.seed, step])
        count, batch = len(self.omega), recipe.batch * self.world.size
        seen = random.choice(count, min(recipe.vertices or count, count), replace=False)
        vertices = torch.from_numpy(np.sort(seen))
        batches = []
        for kind in KINDS:
            pool = self.pools[kind]
            chosen = share(torch.from_numpy(random.integers(len(pool.frames), size=batch)))
            factor = share(torch.from_numpy(random.uniform(recipe.shrink, 1.5, batch).astype(np.float32)))
            batches.append(pool.batch(chosen, vertices, self.device, factor if recipe.shrink < 1 else None))
        return self._objective(batches, self._encode(batches), vertices.to(self.device), self.world)

    def _encode(self, batches: Sequence[FrameBatch]) -> tuple[Tensor, Tensor]:
        """Weights (B, K) of both batches: [w_A, eps_A] and [eps_E, w_E]."""
        speech = self.model.encode_speech_map(batches[0].inputs)
        expression = self.model.encode_expression_map(batches[1].inputs)
        return torch.cat(speech, dim=1), torch.cat(expression, dim=1)

    def _basis(self) -> Tensor:
        """The blendshapes (K, V, 3) m as the objective sees them."""
        return losses.unit_rms(self.model.basis) if self.recipe.unit_norm else self.model.basis

    def _objective(
        self, batches: Sequence[FrameBatch], weights: tuple[Tensor, Tensor], vertices: Tensor, world: World
    ) -> dict[str, Tensor]:
        """Every term in use, measured at some vertices (n,), and their weighted sum under "loss"; `world` are those
        who measure the rest of the batch."""
        recipe, (speech, expression), omega = self.recipe, batches, self.omega[vertices]
        basis, shares = self._basis(), [recipe.speech_shapes, recipe.expression_shapes]
        basis_a, basis_e = basis[:, vertices].split(shares)
        (w_a, eps_a), (eps_e, w_e) = (both.split(shares, dim=1) for both in weights)
        own_a, leak_a = _product(w_a, basis_a), _product(eps_a, basis_e)
        own_e, leak_e = _product(w_e, basis_e), _product(eps_e, basis_a)
        decoded = (own_a + leak_a, own_e + leak_e)
        terms = {
            "speech": (1.0, losses.reconstruction(decoded[0], speech.moved, omega, recipe.squared)),
            "expression": (1.0, losses.reconstruction(decoded[1], expression.moved, omega, recipe.squared)),
        }
        if recipe.sparsity:
            terms["sparsity"] = recipe.sparsity, losses.sparsity(eps_a, eps_e)
        if recipe.group:
            terms["group"] = recipe.group, losses.group_sparsity(*weights, world.mean)
        if recipe.laplace:
            bent = losses.curvature(self.laplacian, basis)[:, vertices]
            curved = (batch.rest_curvature + _product(w, bent) for batch, w in zip(batches, weights))
            terms["laplace"] = recipe.laplace, _total(losses.laplace(field) for field in curved)
        if recipe.regularisation:
            terms["regularisation"] = recipe.regularisation, _total(losses.regularisation(d) for d in decoded)
        if self.split is not None and recipe.anchor:
            pulls = (losses.anchor(own_a, speech.moved - speech.leak), losses.anchor(leak_e, expression.leak))
            terms["anchor"] = recipe.anchor, _total(pulls)
        return {"loss": _total(w * term for w, term in terms.values()), **{k: term for k, (_, term) in terms.items()}}

    def validate(self) -> dict[str, float]:
        """The objective on held-out frames, and the mean lip error (mm) of each encoder."""
        everywhere = torch.arange(len(self.omega))
        batches = [self.held[kind].whole(everywhere, self.device) for kind in KINDS]
        weights = self._encode(batches)
        terms = self._objective(batches, weights, everywhere.to(self.device), World())
        measured = {name: term.item() for name, term in terms.items() if name != "loss"}
        lip_basis = self._basis()[:, self.lips]
        for kind, batch, own in zip(KINDS, batches, weights):
            error = losses.vertex_error(_product(own, lip_basis), batch.moved[:, self.lips])
            measured[f"{kind}_lips_mm"] = error.mean().item()
        return {"score": terms["loss"].item(), **measured}

    def _finished(self) -> Fusion:
        """A copy whose decoder holds the blendshapes as the objective saw them."""
        model = copy.deepcopy(self.model).eval()
        model.set_basis(self._basis())
        return model

    @torch.no_grad()
    def write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        model = self._finished()
        takes = {kind: [_encoded(model, r) for r in group] for kind, group in self.recordings.items()}
        peak = torch.stack([take.abs().amax(0) for group in takes.values() for take in group]).amax(0).clamp(min=1e-6)
        model.rescale(peak.to(self.device))
        library = expression_library(model, self.recordings["expression"], [t / peak for t in takes["expression"]])
        training = {"fusion": {**facts, "recipe": asdict(self.recipe), "data": self.corpus.facts}}
        save_model(folder, self.corpus.face, fusion=model, expressions=library, training=training)


def begin_linear(model: Fusion, speech: FramePool, expression: FramePool, omega: Tensor) -> None:
    """Start the network at its best linear form.

    The blendshapes become the principal directions of the speech parts and of the expression parts, and
    each encoder's linear path the ridge regression onto them; the convolutions start at nothing.
    Without a split every speech take is all speech, every expression take all expression.
    """
    config = model.config

    def divided(pool: FramePool) -> Iterator[tuple[Tensor, Tensor]]:
        """The speech part and the expression part of every frame."""
        for motion, leak in pool.chunks():
            yield (motion - leak, leak) if pool is speech else (leak, motion - leak)

    def parts(which: int) -> Iterator[Tensor]:
        return (both[which] for pool in (speech, expression) for both in divided(pool))

    shares = (config.speech_shapes, config.expression_shapes)
    bases = [principal_motion(lambda which=which: parts(which), n, omega) for which, n in enumerate(shares)]
    shapes = torch.cat([_padded(basis.directions, n) for basis, n in zip(bases, shares)])
    shapes = shapes.view(config.shapes, -1, 3) * M_PER_MM
    rms = losses.shape_rms(shapes)
    model.set_basis(losses.unit_rms(shapes))

    def weights(*both: Tensor) -> Tensor:
        halves = (_padded(basis.coordinates(part).T, n).T for basis, part, n in zip(bases, both, shares))
        return torch.cat(list(halves), dim=1) * MM_PER_M * rms

    for pool, encoder in ((speech, model.speech_encoder), (expression, model.expression_encoder)):
        if isinstance(encoder, MapEncoder) and encoder.linear is not None:
            seen = (encoder.pooled(chunk.float()) for chunk in pool.inputs.split(CHUNK))
            pairs = ((x, weights(*both)) for x, both in zip(seen, divided(pool)))
            ridge = len(pool.frames) * (NOISE / 2) ** 2  # each pooled pixel averages about four vertices' noise
            with torch.no_grad():
                encoder.linear.weight.copy_(_ridge_regression(pairs, ridge))
                encoder.head.weight.zero_()


def expression_library(model: Fusion, recordings: Sequence[Recording], encoded: Sequence[Tensor]) -> ExpressionLibrary:
    """Every label's most telling takes: of the half that blinks least the stronger half, and of those the ones with
    the least speech in them.

    Parameters
    ----------
    recordings : expression takes
    encoded : [eps_E | w_E] of each, (T, K)
    """
    shares = [model.config.speech_shapes, model.config.expression_shapes]
    strength = losses.shape_rms(model.basis.detach().cpu())  # mm of a shape at weight 1
    takes: dict[str, list[_Candidate]] = {}
    for recording, weights in zip(recordings, encoded):
        leak, own = weights.split(shares, dim=1)
        slow = torch.from_numpy(without_blinks(own.numpy(), FPS))
        apex, fast = (_highest(part * strength[shares[0] :]) for part in (slow, own - slow))
        spoken = _highest(leak * strength[: shares[0]]) / max(apex, 1e-6)
        candidate = _Candidate(apex, spoken, fast / max(apex, 1e-6), (own.numpy(), leak.numpy()))
        takes.setdefault(recording.take.label, []).append(candidate)
    chosen = {}
    for label, group in takes.items():
        calm = _best_half(group, lambda take: take.fast)
        strong = _best_half(calm, lambda take: -take.apex)
        chosen[label] = [take.weights for take in sorted(strong, key=lambda take: take.spoken)[:TAKES_PER_LABEL]]
    return ExpressionLibrary.from_takes(chosen)


class _Candidate(NamedTuple):
    """A take for the library: its strength in mm; speech and fast motion in it as shares of that."""

    apex: float
    spoken: float
    fast: float
    weights: tuple[FloatArray, FloatArray]


def _highest(weights: Tensor) -> float:
    return weights.norm(dim=1).max().item()


def _best_half(group: list[_Candidate], cost: Callable[[_Candidate], float]) -> list[_Candidate]:
    """The half of least cost, rounded up, but never fewer than the library wants."""
    return sorted(group, key=cost)[: max(TAKES_PER_LABEL, (len(group) + 1) // 2)]


def _ridge_regression(pairs: Iterator[tuple[Tensor, Tensor]], ridge: float) -> Tensor:
    """(K, D): least squares from rows x (n, D) to rows y (n, K), summed over all pairs."""
    inputs = outputs = torch.zeros(())
    for x, y in pairs:
        inputs = inputs + x.T @ x
        outputs = outputs + x.T @ y
    return torch.linalg.solve(inputs + ridge * torch.eye(len(inputs)), outputs).T


def _padded(rows: Tensor, count: int) -> Tensor:
    """Rows of zeros below, up to `count`: small data have fewer directions than there are shapes."""
    return torch.nn.functional.pad(rows, (0, 0, 0, count - len(rows)))


def _total(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def _product(weights: Tensor, basis: Tensor) -> Tensor:
    """(B, K) times (K, V, 3)."""
    return (weights @ basis.flatten(1)).view(len(weights), -1, 3)


def _coordinates(recording: Recording, motion: MotionBasis) -> np.ndarray:
    """(T, P) float64 mm."""
    return torch.cat([motion.coordinates(block) for block in recording.blocks()]).double().numpy() * MM_PER_M


def _encoded(model: Fusion, recording: Recording) -> Tensor:
    """All weights (T, K) of a take by the encoder of its kind."""
    encode = model.encode_speech if recording.take.kind == "speech" else model.encode_expression
    device = model.decoder.weight.device
    return torch.cat([torch.cat(encode(block.to(device)), dim=1).cpu() for block in recording.blocks()])
