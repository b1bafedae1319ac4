"""The recipe `speech`: FaceFormer on recorded speech, as published or small and quick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visemo.evaluate.metrics import lve
from visemo.face.face import Face
from visemo.geometry.regions import vertex_weights
from visemo.models.audio_encoder import STEP, AudioEncoderConfig, MelEncoder
from visemo.models.checkpoint import save_model
from visemo.models.speech_motion import SpeechMotion, SpeechMotionConfig
from visemo.training.corpus import Corpus, Recording, thin
from visemo.training.distributed import World, join
from visemo.training.hearing import Hearing, at_tempo, frames_between
from visemo.training.loop import Plan, choose_device, cosine, fit, open_run
from visemo.training.pca import MotionBasis, principal_motion
from visemo.training.start import hear_as, start_from
from visemo.types import VisemoError
from visemo.units import FPS, MM_PER_M, SAMPLE_RATE

AHEAD = 2  # batches that are drawn while another is learned from
GRID = 3  # mesh frames in which the encoder takes a whole number of steps, so that takes are heard once and then cut
GAP_FLOOR = 0.5  # mm, below which two lip gaps are as good as equal
SHUT = 1.0  # mm of lip gap below which lips count as shut
SILENCE = "pau"
UNNAMED = -100  # the phone of a frame that nobody labelled, which the loss passes over


@dataclass(frozen=True)
class SpeechRecipe:
    """How the speech model is trained; `paper()` and `default()` are the two presets. Without windows the loss is the
    published one, and what shapes windows or their loss has no effect.

    steps, horizon : optimiser steps, and the step at which the falling learning rate reaches its
        floor (0 keeps it constant); apart, so that a run can be stopped early or prolonged
    rate, warmup, clip : learning rate, steps of its rise, largest gradient norm (0: any)
    batch, window : windows per step and their frames; window 0 takes one whole sequence per step. Of several
        processes each takes as many, so that two of them learn what one learns from the doubled batch
    context : frames of sound before a window that the encoder hears
    basis_size : coordinates of the corpus' motion basis that are predicted; 0 predicts vertices
    lips : weight of the lip vertices in that basis (eyes and brows 2, rest 1)
    velocity : weight of the error of frame-to-frame differences
    gap : weight of the squared error of log(lip gap + 0.5 mm): an /m/ that nearly shuts is as wrong as a vowel
        that opens half as far, which millimetres do not say
    closure : how much dearer that error is where lips that should be shut are not
    phones : weight of the auxiliary loss that names the phone heard at each frame
    hearing : how far the sound of a window may differ from what was recorded
    captured : how much oftener a second of captured talk is heard than one of a planted corpus
    phonetic_share : share of windows of which a phonetic encoder hears the phones and the loudness alone
    uniform_style : share of windows with the mean of all speakers' styles, for voices never met
    encoder : settings of AudioEncoderConfig that differ from its own defaults
    half : let the encoder multiply in bfloat16 while it learns: twice as fast where the processor can, slower elsewhere
    pretrained : what the encoder begins as: folder or name of a published wav2vec 2.0, or for a mel encoder a model
        ("default", a folder, a run) on whatever face; empty starts it at random
    freeze : leave the encoder as it began: minutes of talk teach how a face moves, not how to hear
    start : run or model folder whose speech model this one begins as, its motion basis included; empty for none
    validate_takes : held-out sequences that a validation decodes, free-running and whole
    """

    steps: int
    horizon: int = 0
    rate: float = 1e-4
    warmup: int = 0
    clip: float = 0.0
    batch: int = 1
    window: int = 0
    context: int = 0
    basis_size: int = 0
    lips: float = 4.0
    velocity: float = 0.0
    gap: float = 0.0
    closure: float = 1.0
    phones: float = 0.0
    hearing: Hearing = field(default_factory=Hearing)
    captured: float = 1.0
    phonetic_share: float = 0.0
    uniform_style: float = 0.0
    encoder: dict[str, Any] = field(default_factory=lambda: {"kind": "wav2vec2"})
    half: bool = False
    pretrained: str = ""
    freeze: bool = False
    start: str = ""
    split: str = "faceformer"
    validate_every: int = 200
    validate_takes: int = 24
    save_every: int = 200
    patience: int = 0
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        whole = self.batch == 1 and self.basis_size == 0
        if not (whole if self.window == 0 else self.batch >= 1 and self.basis_size >= 1):
            raise VisemoError(
                f"speech recipe: got batch {self.batch}, window {self.window}, basis_size {self.basis_size}, "
                "expected whole sequences one at a time without a basis, or windows with one"
            )
        if self.validate_takes < 1:
            raise VisemoError(f"validate_takes: got {self.validate_takes}, expected 1 or more")
        if self.half and not self.window:
            raise VisemoError("speech recipe: got half with whole sequences, expected windows; leave it out")

    @classmethod
    def paper(cls, steps: int = 31_400) -> SpeechRecipe:
        """FaceFormer: 100 epochs over 314 sequences, batch 1, MSE on vertices, Adam 1e-4."""
        return cls(steps, validate_every=314, save_every=314)

    @classmethod
    def default(cls, steps: int = 2400) -> SpeechRecipe:
        """Log-mel encoder, windows of three seconds, 48 motion coordinates."""
        return cls(
            steps, horizon=2400, rate=2e-3, warmup=100, clip=1.0, batch=32, window=90, context=20, basis_size=48,
            lips=12.0, velocity=4.0, gap=0.5, phones=0.4, uniform_style=0.25,
            encoder={"kind": "mel", "dropout": 0.2, "width": 256}, validate_takes=64,
        )  # fmt: skip


def train_speech(
    recipe: SpeechRecipe,
    data: Sequence[Path | str],
    face: Face,
    run: Path | str,
    *,
    resume: bool = False,
    device: str = "auto",
) -> dict[str, float]:
    """Train the speech model on the speech takes of `data` and leave it in `run`/model.

    Returns
    -------
    {"score", "step"}: free-running lip vertex error (mm) on held-out sequences, and where it was reached

    Raises
    ------
    VisemoError
        for data of another face or without speech, and as `open_run` and `fit`
    """
    with join(choose_device(device)) as world:
        corpus = Corpus(data, face, recipe.split)
        settings = {"kind": "speech", "recipe": asdict(recipe), "data": corpus.facts}
        run = open_run(run, settings, resume, world)
        torch.manual_seed(recipe.seed)
        task = (WindowTask if recipe.window else SequenceTask)(recipe, corpus, world.device, world)
        plan = Plan(
            recipe.steps, recipe.validate_every, recipe.save_every, recipe.patience, recipe.clip, recipe.seed,
            recipe.tensorboard,
        )  # fmt: skip
        with _threads(1 if recipe.window else torch.get_num_threads()):
            return fit(task, run, plan, world)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with `count` threads: a window is unrolled in thousands of small products, which threads only slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _SpeechTask:
    """What both presets share: the network, validation, and the model folder."""

    def __init__(self, recipe: SpeechRecipe, corpus: Corpus, device: torch.device, world: World | None = None) -> None:
        self.recipe, self.corpus, self.device, self.world = recipe, corpus, device, world or World()
        self.recordings = corpus.takes("train", "speech")
        held = corpus.takes("val", "speech")
        self.held = held[:: max(1, len(held) // recipe.validate_takes)][: recipe.validate_takes]
        self.phone_names = self._phone_names() if recipe.phones else ()
        self.model = SpeechMotion(self._config())
        self.earlier: dict[str, Any] = {}  # how the model was trained that this one goes on from
        if recipe.pretrained:
            from visemo.models.wav2vec2 import Wav2Vec2Encoder, load_pretrained

            if isinstance(self.model.audio_encoder, Wav2Vec2Encoder):
                load_pretrained(self.model.audio_encoder, recipe.pretrained)
            else:
                self.earlier["pretrained"] = hear_as(self.model, recipe.pretrained)
        if recipe.start:
            self.earlier["start"] = start_from(self.model, recipe.start)
        if recipe.freeze:
            self.model.audio_encoder.requires_grad_(False)
        self.model.to(device)
        learned = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=recipe.rate)
        self.lips = torch.from_numpy(np.asarray(corpus.face.region("lips"), np.int64))

    def _config(self) -> SpeechMotionConfig:
        encoder = {**self.recipe.encoder, "phone_classes": len(self.phone_names)}
        subjects = tuple(dict.fromkeys(map(self.corpus.style_name, self.recordings)))
        return SpeechMotionConfig(
            vertices=len(self.corpus.face.template),
            subjects=subjects,
            audio=AudioEncoderConfig(**encoder),
            basis_size=self.recipe.basis_size,
        )

    def _phone_names(self) -> tuple[str, ...]:
        return tuple(sorted({SILENCE} | {segment.name for r in self.recordings for segment in r.phones()}))

    def rate(self, step: int) -> float:
        recipe = self.recipe
        return recipe.rate * (cosine(step, recipe.horizon, recipe.warmup) if recipe.horizon else 1.0)

    def validate(self) -> dict[str, float]:
        """Free-running lip vertex error (mm) over whole held-out sequences, as `_heard`."""
        weight, bias = self.model.output_basis()
        lips = self.lips.to(self.device)
        weight, bias = weight[:, lips].flatten(1), bias[lips].flatten()
        errors = []
        for number, recording in enumerate(self.held):
            samples = self._heard(recording, number)
            latents = self.model.latents(samples.to(self.device), self.style(recording), recording.frames)
            spoken = (latents @ weight + bias).view(len(latents), -1, 3).cpu().numpy()
            truth = np.asarray(recording.motion()[:, self.lips.numpy()], np.float32)
            errors.append(lve(spoken, truth, np.arange(len(lips), dtype=np.int32)))
        return {"score": float(np.mean(errors))}

    def _heard(self, recording: Recording, number: int) -> Tensor:
        """(S,) the sound of the held-out take `number`, as it was recorded."""
        return torch.from_numpy(recording.audio().samples)

    def style(self, recording: Recording | None = None) -> Tensor:
        """One-hot style of a training speaker, the mean of all styles for anybody else."""
        subjects = self.model.config.subjects
        name = recording and self.corpus.style_name(recording)
        if name in subjects:
            return self.model.style_of(name)
        return torch.full((len(subjects),), 1.0 / len(subjects), device=self.device)

    def write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        known = {"recipe": asdict(self.recipe), "data": self.corpus.facts, **self.earlier}
        training = {"speech": {**facts, **known}}
        save_model(folder, self.corpus.face, speech=self.model, training=training)


class SequenceTask(_SpeechTask):
    """As published: one whole sequence per step (and process), mean squared error on vertices in metres."""

    def losses(self, step: int) -> dict[str, Tensor]:
        epoch, place = divmod(step * self.world.size + self.world.rank, len(self.recordings))
        random = np.random.default_rng([self.recipe.seed, epoch])  # an order per epoch
        recording = self.recordings[random.permutation(len(self.recordings))[place]]
        frames = min(recording.frames, self.model.config.max_frames)
        truth = torch.from_numpy(np.array(recording.motion()[:frames])).float().to(self.device)
        samples = recording.audio().samples[: round(frames / FPS * SAMPLE_RATE)]
        style = self.style(recording)
        spoken = self.model(torch.from_numpy(samples).to(self.device)[None], style[None], frames)
        loss = F.mse_loss(spoken[0], truth.flatten(1))  # the neutral, added to both, cancels
        return {"loss": loss, "rms_mm": loss.detach().sqrt() * MM_PER_M}


class WindowTask(_SpeechTask):
    """Random windows in the coordinates of the corpus' own motion basis, kept in memory.

    Of several processes the first one finds the basis and the coordinates, for all. Each keeps the sounds, and the
    versions of them that it has heard.
    """

    def __init__(self, recipe: SpeechRecipe, corpus: Corpus, device: torch.device, world: World | None = None) -> None:
        super().__init__(recipe, corpus, device, world)
        if not isinstance(self.model.audio_encoder, MelEncoder):  # others judge a window as if it were a clip
            raise VisemoError(f"encoder: got {recipe.encoder} with windows, expected kind mel; use window 0")
        self.encoder = self.model.audio_encoder
        motion, self.targets = self.world.once(self._coordinates)
        self.model.motion_basis.copy_(motion.basis)
        upper, lower = torch.from_numpy(corpus.face.lip_pairs.astype(np.int64)).T
        shapes, template = motion.basis.unflatten(1, (-1, 3)), torch.from_numpy(corpus.face.template)
        self.lips_apart = (shapes[:, upper] - shapes[:, lower]).flatten(1).to(device)  # (P, 3N) m
        self.lips_at_rest = (template[upper] - template[lower]).flatten().to(device)
        self.variance = (motion.deviation * MM_PER_M).square().to(device)  # (P,) mm^2 of a unit of each coordinate
        self.sounds = [self._sound(r) for r in self.recordings]
        if self.encoder.acoustic is not None:
            self.encoder.acoustic.measure(self.sounds)
        self.labels = [self._labels(r) for r in self.recordings] if recipe.phones else []
        real = [recipe.captured if r.store.manifest["source"] == "captures" else 1.0 for r in self.recordings]
        chance = np.array(real) * [len(t) for t in self.targets]
        self.chance = chance / chance.sum()
        self.versions: dict[tuple[int, int], tuple[float, Tensor]] = {}
        self.steps = self.encoder.hear(torch.zeros(1, 1), 0, recipe.context + recipe.window).shape[1]
        self.drawers = ThreadPoolExecutor(AHEAD)
        self.next_batches: dict[int, Future] = {}

    def _coordinates(self) -> tuple[MotionBasis, list[Tensor]]:
        """The motion basis, and every take (T, P) in it."""
        motion = self._motion_basis()
        dual = motion.dual
        return motion, [torch.cat([b.flatten(1) @ dual for b in r.blocks()]) for r in self.recordings]

    def _motion_basis(self) -> MotionBasis:
        face = self.corpus.face
        omega = torch.from_numpy(vertex_weights(face.regions, len(face.template), lips=self.recipe.lips))
        if self.recipe.start:
            return MotionBasis.of(self.model.motion_basis.cpu(), omega)
        stride = thin(self.recordings, 12_000)
        size = self.recipe.basis_size
        motion = principal_motion(
            lambda: (b for r in self.recordings for b in r.blocks(stride)), size, omega, self.recipe.seed
        )
        if len(motion.deviation) < size:
            raise VisemoError(
                f"basis_size: got {size}, expected at most the {len(motion.deviation)} dimensions of the data"
            )
        return motion

    def _sound(self, recording: Recording) -> Tensor:
        """The whole take at the level that the encoder expects."""
        return self._normalised(torch.from_numpy(recording.audio().samples))

    def _normalised(self, samples: Tensor) -> Tensor:
        return self.encoder.normalise(samples[None])[0]

    def _heard(self, recording: Recording, number: int) -> Tensor:
        """Every second held-out take comes from elsewhere, so that the best model is one that hears well there too."""
        samples = super()._heard(recording, number)
        if number % 2 == 0:
            return samples
        random = np.random.default_rng([self.recipe.seed, number])
        return self.recipe.hearing.hear(samples, random, self.sounds)

    def _labels(self, recording: Recording) -> Tensor:
        """(T,) index of the phone heard at each frame."""
        phones = recording.phones()
        labels = np.full(recording.frames, self.phone_names.index(SILENCE) if phones else UNNAMED)
        for name, start, end in phones:
            labels[round(start * FPS) : round(end * FPS)] = self.phone_names.index(name)
        return torch.from_numpy(labels)

    def losses(self, step: int) -> dict[str, Tensor]:
        heard, targets, labels, valid, style = self._drawn(step)
        recipe = self.recipe
        encoder = self.encoder
        counts = torch.stack([valid.sum(), valid[:, 1:].sum(), (labels != UNNAMED).sum()])
        frames, moves, named = self.world.mean(counts)  # of what all windows of a step hold, this process' share
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.half):
            features = encoder.understand(heard, 0, recipe.context + recipe.window)[:, recipe.context :]
        spoken = self.model.unroll(features, style)
        position = self._squares(spoken - targets, valid) / frames
        velocity = self._squares((spoken - targets).diff(dim=1), valid[:, 1:]) / moves
        losses = {"position_mm2": position, "velocity_mm2": velocity}
        loss = position + recipe.velocity * velocity
        if recipe.gap:
            wanted = self._lip_gap(targets)
            ratio = torch.log((self._lip_gap(spoken) + GAP_FLOOR) / (wanted + GAP_FLOOR))
            open_lips = (wanted < SHUT) & (ratio > 0)  # a viewer sees a /p/ that stays open, not a /k/ that closes
            price = 1 + (recipe.closure - 1) * open_lips
            losses["gap"] = (price * ratio.square() * valid).sum() / frames
            loss = loss + recipe.gap * losses["gap"]
        if recipe.phones:
            named = named.clamp(min=1 / self.world.size)  # a batch of captured talk has no names at all
            logits = encoder.phone_logits(features).flatten(0, 1)
            naming = F.cross_entropy(logits, labels.flatten(), ignore_index=UNNAMED, reduction="sum") / named
            losses["phones"] = naming
            loss = loss + recipe.phones * naming
        return {"loss": loss, **losses}

    def _lip_gap(self, coordinates: Tensor) -> Tensor:
        """Mean distance of the lip pairs, mm (B, T), in the face that coordinates (B, T, P) stand for."""
        apart = (coordinates @ self.lips_apart + self.lips_at_rest).unflatten(-1, (-1, 3)) * MM_PER_M
        return (apart.square().sum(dim=-1) + 1e-4).sqrt().mean(dim=-1)  # smooth where they touch

    def _squares(self, error: Tensor, valid: Tensor) -> Tensor:
        """Sum over valid frames of the omega-weighted mean square displacement, mm^2, of an error (B, T, P) in
        coordinates."""
        return ((error.square() @ self.variance) * valid).sum()

    def _drawn(self, step: int) -> tuple[Tensor, ...]:
        """The batch of a step, which a thread has drawn while earlier steps were computed, if all went in order."""
        known, wanted = self.next_batches, range(step, step + AHEAD + 1)
        self.next_batches = {n: known[n] if n in known else self.drawers.submit(self._batch, n) for n in wanted}
        return tuple(column.to(self.device) for column in self.next_batches[step].result())

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        """What is heard (B, steps, inputs), targets (B, T, P), phones (B, T), valid (B, T), style (B, n).

        The choices are made for the windows of all processes, the windows cut for this one alone.
        """
        recipe, share = self.recipe, self.world.share
        random = np.random.default_rng([recipe.seed, step])
        rows = random.choice(len(self.targets), recipe.batch * self.world.size, p=self.chance)
        choices = [self._choose(int(row), random) for row in rows]
        heard, *rest = (torch.stack(column) for column in zip(*(self._window(*choice) for choice in share(choices))))
        if self.encoder.acoustic is not None:
            # bands without colour, only loud or faint: what few voices teach by heart, phones teach for all
            deaf = share(torch.from_numpy(random.random(len(rows)) < recipe.phonetic_share))
            bands = heard[deaf, :, : -self.encoder.acoustic.width].unflatten(2, (-1, self.encoder.config.bands))
            flat = bands.mean(dim=3, keepdim=True).expand_as(bands).flatten(2)
            heard[deaf, :, : -self.encoder.acoustic.width] = flat
        return heard, *rest

    def _choose(self, row: int, random: np.random.Generator) -> tuple[int, int, int, bool]:
        """A window of a take: its row, which version, the frame where it begins, whether nobody's style."""
        recipe = self.recipe
        number = int(random.integers(recipe.hearing.versions))
        tempo = recipe.hearing.tempo(self._chance(row, number))
        places = max(1, int((len(self.targets[row]) - 1) / tempo - recipe.window) // GRID + 1)
        start = GRID * int(random.integers(places))
        return row, number, start, random.random() < recipe.uniform_style

    def _window(self, row: int, number: int, start: int, uniform: bool) -> tuple[Tensor, ...]:
        recipe, target = self.recipe, self.targets[row]
        tempo, heard = self._version(row, number)
        at = tempo * (start + np.arange(recipe.window))
        step = round(start / (FPS * STEP))
        nearest = np.rint(at).astype(np.int64).clip(0, len(target) - 1)
        labels = self.labels[row][nearest] if self.labels else torch.zeros(recipe.window)
        valid = torch.from_numpy(at <= len(target) - 1)
        style = self.style(None if uniform else self.recordings[row])
        return heard[step : step + self.steps].float(), frames_between(target, at), labels, valid, style.cpu()

    def _chance(self, row: int, number: int) -> np.random.Generator:
        """What is drawn for a version of a take: its tempo first."""
        return np.random.default_rng([self.recipe.seed, row, number])

    def _version(self, row: int, number: int) -> tuple[float, Tensor]:
        """A take as it is heard one of several ways: its tempo, and what the encoder hears (steps, inputs) float16,
        from `context` frames before its beginning on."""
        if (row, number) not in self.versions:
            recipe = self.recipe
            random = self._chance(row, number)
            tempo = recipe.hearing.tempo(random)
            sound = recipe.hearing.hear(at_tempo(self.sounds[row], tempo), random, self.sounds, self._normalised)
            before, after = (round(frames / FPS * SAMPLE_RATE) for frames in (recipe.context, recipe.window))
            frames = recipe.context + max(recipe.window, int(len(sound) / SAMPLE_RATE * FPS)) + GRID
            heard = self.encoder.hear(F.pad(sound, (before, after))[None], 0, frames)
            self.versions[row, number] = tempo, heard[0].half()
        return self.versions[row, number]
