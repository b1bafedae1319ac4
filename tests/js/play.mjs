// node play.mjs FILE.glb SECONDS -> one line of JSON: what three.js shows of the file at that time.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url); // looks in NODE_PATH too, which `import` does not
const root = dirname(dirname(require.resolve("three"))); // .../three/build/three.cjs
const load = (...path) => import(pathToFileURL(join(root, ...path)));
globalThis.self = globalThis; // the loader reaches for it even where a file has no textures
const THREE = await load("build", "three.module.js");
const { GLTFLoader } = await load("examples", "jsm", "loaders", "GLTFLoader.js");

const data = readFileSync(process.argv[2]);
const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
const gltf = await new GLTFLoader().parseAsync(buffer, "");

const mixer = new THREE.AnimationMixer(gltf.scene);
mixer.clipAction(gltf.animations[0]).play();
mixer.setTime(Number(process.argv[3]));
gltf.scene.updateMatrixWorld(true);

const meshes = [];
gltf.scene.traverse((object) => {
  if (!object.isMesh) return;
  const count = object.geometry.attributes.position.count;
  const points = [0, count >> 1, count - 1].map((i) =>
    // morph targets and head motion applied
    object.getVertexPosition(i, new THREE.Vector3()).applyMatrix4(object.matrixWorld).toArray(),
  );
  const names = Object.keys(object.morphTargetDictionary);
  meshes.push({ material: object.material.name, count, names, influences: [...object.morphTargetInfluences], points });
});
console.log(JSON.stringify({ meshes, seconds: gltf.animations[0].duration }));
