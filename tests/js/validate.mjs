// node validate.mjs FILE.glb -> one line of JSON: numbers of errors and warnings, and the messages.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url); // looks in NODE_PATH too, which `import` does not
const validator = require("gltf-validator");

const report = await validator.validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 50 });
const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
console.log(JSON.stringify({ numErrors, numWarnings, numInfos, numHints, messages, info: report.info }));
