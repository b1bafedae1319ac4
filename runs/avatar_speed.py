"""How fast an avatar is drawn on two threads, when it fills about four fifths of 512 x 512 pixels.

    .venv/bin/python runs/avatar_speed.py [AVATAR] [--frames N]

AVATAR is a point_cloud.ply of GaussianAvatars' layout, by default one made from the built-in face. One with avatar.json
beside it nods on that face's mesh. Any other is bound to FLAME's mesh, which is not known here; a quiet sheet with as
many triangles stands for it where no --mesh MESH.npz gives `vertices` (V, 3) and `flame_faces` (F, 3).

Three lines: the share of pixels that are covered, frames per second drawn, and with posing. Each is the median of
single frames; the fastest one stands beside it, since other work on the machine only slows.
"""
