"""A Face: the template mesh with everything that is known about its vertices."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from visemo.assets import sha256
from visemo.types import FloatArray, IntArray, VisemoError, check_array, check_indices


@dataclass(frozen=True, eq=False)
class Part:
    """Something attached to a face (eyeball, teeth, tongue, neck): P vertices of its own that follow
    the face's named shapes linearly. `shapes` has one (P, 3) delta per shape of the face."""

    name: str
    vertices: FloatArray  # (P, 3) m
    triangles: IntArray  # (F, 3)
    colors: FloatArray  # (P, 3) linear RGB 0..1
    shapes: FloatArray  # (M, P, 3) m, rows as Face.shape_names
    gloss: float = 0.0  # strength of the specular highlight, 0..1

    def __post_init__(self) -> None:
        check_array(f"part {self.name} vertices", self.vertices, (None, 3), np.float32)
        check_indices(f"part {self.name} triangles", self.triangles, 3, len(self.vertices))
        check_array(f"part {self.name} colors", self.colors, self.vertices.shape, np.float32)
        check_array(f"part {self.name} shapes", self.shapes, (None, *self.vertices.shape), np.float32)


@dataclass(frozen=True, eq=False)
class Cut:
    """The larger mesh that a face was cut out of, such as FLAME's whole head: face vertex i is its vertex rows[i]."""

    topology: str  # hash of the larger mesh's triangles, as Face.topology_hash
    rows: IntArray  # (V,)


@dataclass(frozen=True, eq=False)
class Face:
    """The animated frontal face in its neutral, lips touching.

    Metres, +y up, +z out of the face, +x the face's own left. `mirror` pairs each vertex with its
    reflection in x = 0 (itself on the midline). `lip_pairs` run from corner to corner along the
    inner rim, (upper, lower), touching when the mouth is shut. `shapes` are deltas of the named
    ARKit shapes at weight 1; `identities` deltas for one standard deviation of face shape.
    `landmarks` are vertices by their number in the iBUG scheme of 68 (0-based; 30 is the tip of the nose).
    """

    name: str
    template: FloatArray  # (V, 3) m
    triangles: IntArray  # (F, 3)
    regions: dict[str, IntArray]  # lips, upper_lip, lower_lip, mouth, eyes, brows, ... -> vertex indices
    lip_pairs: IntArray  # (N, 2)
    mirror: IntArray  # (V,)
    colors: FloatArray  # (V, 3) linear RGB 0..1
    shape_names: tuple[str, ...] = ()
    shapes: FloatArray | None = None  # (M, V, 3) m
    identity_names: tuple[str, ...] = ()
    identities: FloatArray | None = None  # (I, V, 3) m
    parts: tuple[Part, ...] = ()
    landmarks: dict[int, int] = field(default_factory=dict)
    cut: Cut | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        count = len(self.template)
        check_array("template", self.template, (None, 3), np.float32)
        check_indices("triangles", self.triangles, 3, count)
        check_indices("lip_pairs", self.lip_pairs, 2, count)
        check_indices("mirror", self.mirror, None, count)
        check_array("colors", self.colors, (count, 3), np.float32)
        for region, indices in self.regions.items():
            check_indices(f"region {region}", indices, None, count)
        if not np.array_equal(self.mirror[self.mirror], np.arange(count)):
            raise VisemoError(f"face {self.name}: got mirror pairs that do not come in pairs, expected an involution")
        if self.shapes is not None:
            check_array("shapes", self.shapes, (len(self.shape_names), count, 3), np.float32)
        if self.identities is not None:
            check_array("identities", self.identities, (len(self.identity_names), count, 3), np.float32)
        check_indices("landmarks", np.array(list(self.landmarks.values()), np.int32), None, count)
        if not set(self.landmarks) <= set(range(68)):
            raise VisemoError(f"face {self.name}: got landmarks {sorted(self.landmarks)}, expected numbers 0 to 67")
        if self.cut is not None and self.cut.rows.shape != (count,):
            raise VisemoError(
                f"face {self.name}: got {len(self.cut.rows)} rows of a cut, expected {count}, one per vertex"
            )
        for part in self.parts:
            if len(part.shapes) != len(self.shape_names):
                raise VisemoError(
                    f"part {part.name}: got {len(part.shapes)} shapes, expected the face's {len(self.shape_names)}"
                )

    @cached_property
    def topology_hash(self) -> str:
        """Identifies vertex count, order and triangles: what stores, models and takes are checked by."""
        return sha256(self.triangles)[:16]

    @cached_property
    def hash(self) -> str:
        """Identifies the topology and the template's geometry."""
        return sha256(self.triangles, self.template)[:16]

    def region(self, name: str) -> IntArray:
        """Vertices of one named region. Raises VisemoError when the face does not say where it is."""
        if name not in self.regions:
            raise VisemoError(f"face {self.name}: got regions {', '.join(self.regions) or 'none'}, expected {name} too")
        return self.regions[name]

    def shape(self, name: str) -> FloatArray:
        """Delta (V, 3) of one named shape. Raises VisemoError with the list of names."""
        if self.shapes is None or name not in self.shape_names:
            raise VisemoError(f"shape: got {name!r}, expected one of {', '.join(self.shape_names)}")
        return self.shapes[self.shape_names.index(name)]
