"""Speech and an expression to an animated face: the product's one path.

audio -> FaceFormer latents -> geometry maps -> E_a -> (w_A, eps_A); expression -> (w_E, eps_E);
fusion (Eq. 13) -> an `Animation`. The vertices of dV_A are never made: the speech model's last layer
and the geometry map are both linear, so a latent is turned into its map by one product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from visemo.animation.closure import lips_meet
from visemo.animation.guard import guard_lips
from visemo.animation.lively import add_life
from visemo.animation.pace import at_pace
from visemo.animation.timeline import Timeline
from visemo.face.face import Face
from visemo.media import load_audio
from visemo.models.checkpoint import Model, versions
from visemo.models.expressions import ExpressionTake, check_intensity, take_from_motion
from visemo.models.fusion import fuse
from visemo.types import MODES, Animation, FloatArray, Mesh, Mode, Motion, VisemoError, Waveform
from visemo.units import FPS, SAMPLE_RATE, frame_count

Expression = str | ExpressionTake | Motion | Sequence[Mesh]
Progress = Callable[[float], None]  # the share that is done, 0..1
MESHES = "meshes"  # what a take says of an expression that came as a motion
MOTION = "motion"  # and of one that somebody animated


class Animator:
    """A model made ready to animate: load once, animate many clips.

    Parameters
    ----------
    model : the trained model.
    template : (V, 3) float32 m, another person's neutral in the model's own topology; default the
        face's own.
    device : where the networks run.
    """

    def __init__(self, model: Model, template: FloatArray | None = None, device: str = "cpu") -> None:
        self.model = model
        self.template = model.face.template if template is None else template
        if self.template.shape != model.face.template.shape:
            raise VisemoError(
                f"face: got {len(self.template)} vertices, expected the {len(model.face.template)} of "
                f"{model.face.name}; use a mesh in the model's own topology"
            )
        self._person = replace(model.face, template=self.template)
        self.device = device
        self.speech = model.speech.to(device).eval()
        self.fusion = model.fusion.to(device).eval()
        with torch.inference_mode():
            self.basis: FloatArray = np.ascontiguousarray(self.fusion.basis.cpu().numpy(), np.float32)
            self._input_basis, self._input_bias = self._compose_with_map(*self.speech.output_basis())

    @property
    def face(self) -> Face:
        return self.model.face

    def _compose_with_map(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Latents straight to the input of E_a: the speech model's last layer after Eq. 1, both linear."""
        fields = torch.cat([weight, bias[None]])
        if self.fusion.config.geometry_map:
            fields = self.fusion.geomap.to_map(fields)
        return fields[:-1], fields[-1]

    # --- the path -------------------------------------------------------------------------------------

    def animate(
        self,
        audio: str | Path | Waveform,
        expression: Expression = "neutral",
        intensity: float = 1.0,
        *,
        timeline: Timeline | str | Path | None = None,
        subject: str | None = None,
        mode: Mode = "fused",
        guard: float = 1.0,
        lively: bool = False,
        fps: float = FPS,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Animation:
        """Animate the face to a sound.

        Parameters
        ----------
        audio : a file in any container, or a Waveform.
        expression : a name of the library; or meshes in the face's topology, the neutral first; or a
            Motion from a neutral; or a take.
        intensity : strength of the expression, 0..1.5.
        timeline : expressions over time, instead of one; a Timeline or its JSON file.
        subject : whose speaking style; default the mean of the training subjects.
        mode : `fused` [w_A | w_E], `speech` [w_A | 0], `expression` [0 | w_E], `naive` with both leaks.
        guard : how far the expression yields to lip closures, 0..1.
        lively : add blinks, glances and head motion as a third track.
        fps : frames per second of the take.
        seed : chooses the expression's take, its phase, and the life.
        progress : called with the share that is done.

        Returns
        -------
        Animation, whose vertices = template + basis . weights in every mode. The same input, seed
        and thread count give the same numbers.

        Raises
        ------
        VisemoError
            For a sound that cannot be read, unknown names, and numbers outside their range.
        """
        _check_choice("mode", mode, MODES)
        fps = _check_fps(fps)
        played = self._played(expression, intensity, timeline)
        style = self.style(subject)
        sound = _sound(audio)
        w_a, eps_a = self.speech_weights(sound, style, fps, progress)
        spoken = self.basis[: w_a.shape[1]]
        w_a, eps_a = at_pace(lips_meet(w_a, spoken, self._person, fps), eps_a, spoken, self._person, fps)
        w_e, eps_e, said = played(len(w_a), fps, seed)
        meta = self._meta(said, mode, subject, seed)
        clip = self._fused((w_a, eps_a), (eps_e, w_e), mode=mode, fps=fps, sound=sound, meta=meta)
        clip = guard_lips(clip, guard)
        return add_life(clip, seed) if lively else clip

    def re_emote(
        self,
        clip: Animation,
        expression: Expression = "neutral",
        intensity: float = 1.0,
        *,
        timeline: Timeline | str | Path | None = None,
        guard: float = 1.0,
        seed: int | None = None,
    ) -> Animation:
        """Swap the expression of a finished take: no audio, no network, a matrix product.

        The result is what `animate` would have given. A `speech` take becomes a `fused` one; the
        others keep their mode. `seed` is the take's own unless given.

        Raises
        ------
        VisemoError
            When the take was made by another model, and as `animate` does.
        """
        made_by = clip.meta.get("model_hash")
        if made_by != self.model.hash:
            raise VisemoError(
                f"take: got one of model {clip.meta.get('model', 'unknown')} ({made_by}), expected {self.model.name} "
                f"({self.model.hash}); use the model that made it"
            )
        mode: Mode = clip.meta["mode"] if clip.meta["mode"] != "speech" else "fused"
        seed = int(clip.meta["seed"]) if seed is None else seed
        w_e, eps_e, said = self._played(expression, intensity, timeline)(clip.frames, clip.fps, seed)
        w_a = clip.speech_weights - clip.expression_leak if mode == "naive" else clip.speech_weights
        kept = {k: v for k, v in clip.meta.items() if k not in ("expression", "intensity", "timeline", "guard")}
        meta = {**kept, **said, "mode": mode, "seed": seed}
        fused = self._fused((w_a, clip.speech_leak), (eps_e, w_e), mode=mode, fps=clip.fps, sound=clip.audio, meta=meta)
        fused = replace(
            fused,
            template=clip.template,
            lively_weights=clip.lively_weights,
            lively_names=clip.lively_names,
            head_pose=clip.head_pose,
        )
        return guard_lips(fused, guard)

    def adopt(
        self,
        motion: Motion,
        part: Literal["speech", "expression"],
        expression: Expression = "neutral",
        intensity: float = 1.0,
        *,
        timeline: Timeline | str | Path | None = None,
        guard: float = 1.0,
        seed: int = 0,
        sound: Waveform | None = None,
    ) -> Animation:
        """Make a take out of what others animated: what a motion holds of one part, and an expression of ours.

        Parameters
        ----------
        motion : displacements (T, V, 3) m of the model's face from its neutral.
        part : `speech` takes w_A of E_a (Eq. 3) and leaves eps_A, the expression in it, out; `expression` takes w_E
            of E_e (Eq. 4), without speech.
        expression, intensity, timeline, guard, seed : with speech, as for `animate`.

        Raises
        ------
        VisemoError
            For a motion of another face, an expression beside a motion that is one, and as `animate` does.
        """
        if motion.displacements.shape[1] != len(self.template):
            raise VisemoError(
                f"motion: got {motion.displacements.shape[1]} vertices, expected the {len(self.template)} of "
                f"{self.face.name}; register it first"
            )
        played = self._played(expression, intensity, timeline)
        frames, (k_a, k_e) = len(motion.displacements), self.model.expressions.shapes[::-1]
        if part == "speech":
            with torch.inference_mode():
                moved = torch.from_numpy(motion.displacements).split(self.fusion.config.block)
                parts = zip(*(self.fusion.encode_speech(block.to(self.device)) for block in moved))
                w_a, eps_a = (_array(torch.cat(list(blocks))) for blocks in parts)
            w_e, eps_e, said = played(frames, motion.fps, seed)
        else:
            if expression != "neutral" or timeline is not None:
                raise VisemoError("motion: got an expression beside a motion that is taken as one, expected only one")
            take = take_from_motion(self.fusion, motion.displacements, motion.fps, self.device)
            w_e, eps_e, said = take.weights, take.leak, {"expression": MOTION}
            w_a, eps_a = np.zeros((frames, k_a), np.float32), np.zeros((frames, k_e), np.float32)
        mode: Mode = "fused" if part == "speech" else "expression"
        meta = self._meta(said, mode, None, seed)
        clip = self._fused((w_a, eps_a), (eps_e, w_e), mode=mode, fps=motion.fps, sound=sound, meta=meta)
        return guard_lips(clip, guard) if part == "speech" else clip

    def style(self, subject: str | None) -> Tensor:
        """Speaking style (n_subjects,): one subject's, or the mean of all for a voice that is nobody's.

        Raises VisemoError, with the list, for an unknown subject.
        """
        if subject is not None:
            return self.speech.style_of(subject).to(self.device)
        count = len(self.speech.config.subjects)
        return torch.full((count,), 1.0 / count, device=self.device)

    def speech_weights(
        self, sound: Waveform, style: Tensor, fps: float = FPS, progress: Progress | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """w_A (T, K_A) and eps_A (T, K_E) of a 16 kHz sound, at `fps`."""
        native = self.model.speech.config.audio.fps
        latents = self.latents(sound, style, _share_of(progress, 0.0, 0.7))
        w_a, eps_a = self.encode_latents(latents, _share_of(progress, 0.7, 1.0))
        if fps == native:
            return w_a, eps_a
        frames = frame_count(sound.seconds, fps)
        return _resampled(w_a, native, fps, frames), _resampled(eps_a, native, fps, frames)

    @torch.inference_mode()
    def latents(self, sound: Waveform, style: Tensor, progress: Progress | None = None) -> Tensor:
        """FaceFormer's latents (T, D) of a 16 kHz sound at the model's own frame rate (Eq. 2)."""
        samples = torch.from_numpy(sound.samples).to(self.device)
        frames = frame_count(sound.seconds, self.model.speech.config.audio.fps)
        return self.speech.latents(samples, style, frames, progress)

    @torch.inference_mode()
    def encode_latents(self, latents: Tensor, progress: Progress | None = None) -> tuple[FloatArray, FloatArray]:
        """E_a of the motion that latents (T, D) stand for (Eq. 3), a block of frames at a time.

        A block is small so that its maps and features stay in the processor's cache.
        """
        block = self.fusion.config.block
        basis, bias = self._input_basis.flatten(1), self._input_bias.flatten()
        encode = self.fusion.encode_speech_map if self.fusion.config.geometry_map else self.fusion.encode_speech
        w_a, eps_a = [], []
        for start in range(0, len(latents), block):
            maps = torch.addmm(bias, latents[start : start + block], basis).unflatten(1, self._input_bias.shape)
            speech, leak = encode(maps)
            w_a.append(speech)
            eps_a.append(leak)
            if progress is not None:
                progress(min(1.0, (start + block) / len(latents)))
        return _array(torch.cat(w_a)), _array(torch.cat(eps_a))

    def _meta(self, said: dict[str, Any], mode: Mode, subject: str | None, seed: int) -> dict[str, Any]:
        """What a take says of its making, with what `said` of its expression."""
        return {
            "model": self.model.name,
            "model_hash": self.model.hash,
            "face": self.face.name,
            "face_hash": self.face.hash,
            **said,
            "mode": mode,
            "subject": subject,
            "seed": int(seed),
            "versions": versions(),
        }

    def _fused(
        self,
        speech: tuple[FloatArray, FloatArray],
        expression: tuple[FloatArray, FloatArray],
        *,
        mode: Mode,
        fps: float,
        sound: Waveform | None,
        meta: dict[str, Any],
    ) -> Animation:
        """Eq. 13 (or what `mode` says) as an Animation: the leaks are kept beside the weights."""
        (w_a, eps_a), (eps_e, w_e) = speech, expression
        weights = fuse(_tensors(w_a, eps_a), _tensors(eps_e, w_e), mode).numpy()
        k_a = w_a.shape[1]
        return Animation(
            speech_weights=np.ascontiguousarray(weights[:, :k_a]),
            expression_weights=np.ascontiguousarray(weights[:, k_a:]),
            speech_leak=eps_a,
            expression_leak=eps_e,
            basis=self.basis,
            template=self.template,
            triangles=self.face.triangles,
            lip_pairs=self.face.lip_pairs,
            face=self.face.name,
            fps=fps,
            audio=sound,
            meta=meta,
        )

    # --- expressions ----------------------------------------------------------------------------------

    def _played(self, expression: Expression, intensity: float, timeline: Timeline | str | Path | None):
        """What is asked for, checked now and played later: (frames, fps, seed) -> w_E, eps_E, meta."""
        library = self.model.expressions
        if timeline is not None:
            if expression != "neutral":
                raise VisemoError(f"expression: got {expression!r} and a timeline, expected only one of them")
            line = timeline if isinstance(timeline, Timeline) else Timeline.read(Path(timeline))
            for key in line.keys:
                library.resolve(key.expression)
            said: dict[str, Any] = {"expression": "timeline", "timeline": line.to_dict()}
            return lambda frames, fps, seed: (*line.sample(library, frames, fps, seed), said)
        said = {"expression": MESHES, "intensity": check_intensity(intensity)}
        if isinstance(expression, str):
            name = library.resolve(expression)
            said["expression"] = name
            return lambda frames, fps, seed: (*library.sample(name, frames, intensity, fps, seed), said)
        take = expression if isinstance(expression, ExpressionTake) else self.expression_from(expression)
        return lambda frames, fps, seed: (*take.play(frames, intensity, fps), said)

    def expression_from(self, meshes: Motion | Sequence[Mesh]) -> ExpressionTake:
        """A take out of a mesh pair (neutral, apex), a mesh sequence that starts neutral, or a Motion.

        Raises
        ------
        VisemoError
            When there are fewer than two meshes or one has another topology than the model's face.
        """
        if isinstance(meshes, Motion):
            motion = meshes
        else:
            if len(meshes) < 2:
                raise VisemoError(f"expression: got {len(meshes)} meshes, expected the neutral and at least one more")
            for mesh in meshes:
                check_topology(mesh, self.face)
            moved = np.stack([mesh.vertices - meshes[0].vertices for mesh in meshes])
            motion = Motion(moved[1:] if len(meshes) == 2 else moved)  # of a pair only the apex is known
        if motion.displacements.shape[1] != len(self.template):
            raise VisemoError(
                f"expression: got a motion of {motion.displacements.shape[1]} vertices, expected {len(self.template)}"
            )
        return take_from_motion(self.fusion, motion.displacements, motion.fps, self.device)


def check_topology(mesh: Mesh, face: Face) -> None:
    """Refuse a mesh whose vertices or triangles are not the face's own, one for one."""
    if mesh.vertices.shape != face.template.shape or not np.array_equal(mesh.triangles, face.triangles):
        raise VisemoError(
            f"mesh: got {len(mesh.vertices)} vertices and {len(mesh.triangles)} triangles, expected the topology of "
            f"{face.name} ({len(face.template)} and {len(face.triangles)}, in its order); register it first"
        )


def _sound(audio: str | Path | Waveform) -> Waveform:
    """Mono at 16 kHz; a file is read by `media`, a Waveform must be there already."""
    if not isinstance(audio, Waveform):
        return load_audio(Path(audio))
    if audio.sample_rate != SAMPLE_RATE or not len(audio.samples):
        raise VisemoError(
            f"audio: got {len(audio.samples)} samples at {audio.sample_rate} Hz, expected sound at {SAMPLE_RATE} Hz"
        )
    return audio


def _check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise VisemoError(f"{what}: got {value!r}, expected one of {', '.join(choices)}")


def _check_fps(fps: float) -> float:
    if not math.isfinite(fps) or not 1 <= fps <= 240:
        raise VisemoError(f"fps: got {fps}, expected a number from 1 to 240")
    return float(fps)


def _resampled(weights: FloatArray, native: float, fps: float, frames: int) -> FloatArray:
    """Weights (T, K) at another rate: monotone cubic, which never opens lips that both neighbours shut."""
    if len(weights) == 1:
        return np.repeat(weights, frames, axis=0)
    wanted = np.minimum(np.arange(frames) / fps, (len(weights) - 1) / native)
    return PchipInterpolator(np.arange(len(weights)) / native, weights, axis=0)(wanted).astype(np.float32)


def _share_of(progress: Progress | None, start: float, stop: float) -> Progress | None:
    return None if progress is None else lambda done: progress(start + (stop - start) * done)


def _tensors(*arrays: FloatArray) -> tuple[Tensor, Tensor]:
    first, second = arrays
    return torch.from_numpy(first), torch.from_numpy(second)


def _array(tensor: Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.float().cpu().numpy())
