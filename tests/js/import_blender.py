"""blender -b --factory-startup --python import_blender.py -- FILE.glb FPS: writes what Blender makes of the file."""

import json
import sys

import bpy

path, fps = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.context.scene.render.fps = round(float(fps))  # before the import: times become frame numbers then
# Debian pairs Blender 3.4 with a numpy whose `bool` alias is gone; guessing flat faces from normals needs it
bpy.ops.import_scene.gltf(filepath=path, import_shading="SMOOTH")
(mesh,) = [thing for thing in bpy.data.objects if thing.type == "MESH"]
keys = mesh.data.shape_keys
curves = {curve.data_path: curve for curve in keys.animation_data.action.fcurves}
sys.stdout.write("IMPORTED " + json.dumps({
    "vertices": len(mesh.data.vertices),
    "materials": [slot.material.name for slot in mesh.material_slots],
    "names": [key.name for key in keys.key_blocks],
    "range": list(keys.animation_data.action.frame_range),
    "last": [curves[f'key_blocks["{key.name}"].value'].evaluate(keys.animation_data.action.frame_range[1])
             for key in keys.key_blocks[1:]],
}) + "\n")  # fmt: skip
