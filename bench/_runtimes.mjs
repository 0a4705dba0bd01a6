// What _runtimes.py is for Python: `node _runtimes.mjs FILE PHOTOS.json`, in a folder in which npm installed
// onnxruntime-web. The JSON lists the name, type, shape and file of each input.
import * as ort from 'onnxruntime-web'
import fs from 'node:fs'

const OUTPUTS = ['probabilities', 'logits']
const PASSES = 2
const ARRAYS = {uint8: Uint8Array, float32: Float32Array}

async function predict(file, list) {
    const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(file)), {executionProviders: ['wasm']})
    const inputs = JSON.parse(fs.readFileSync(list, 'utf-8'))
    const rows = []
    for (let pass = 0; pass < PASSES; pass++) {
        for (const [name, type, shape, path] of inputs) {
            const bytes = new Uint8Array(fs.readFileSync(path))
            const found = await session.run({[name]: new ort.Tensor(type, new ARRAYS[type](bytes.buffer), shape)})
            rows.push(OUTPUTS.map((output) => Array.from(found[output].data)))
        }
    }
    return rows
}

ort.env.wasm.numThreads = 1
const version = ort.env.versions.web
try {
    console.log(JSON.stringify({version, rows: await predict(process.argv[2], process.argv[3])}))
} catch (error) {
    console.log(JSON.stringify({version, error: String(error.message ?? error)}))
}
