// Generates a set of scenarios, different for every seed: node sets.mjs DIR SEED COUNT
import { writeFileSync, mkdirSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { generate } from './gen.mjs'
const [dir, seed0, count] = process.argv.slice(2)
const KINDS = ['text', 'map', 'array', 'xml', 'rich', 'mixed']
mkdirSync(dir, { recursive: true })
let notes = 0; let updates = 0
for (let i = 0; i < +count; i++) {
  const seed = +seed0 * 1000 + i; const kind = KINDS[i % 6]; const k = 6 * +seed0 + i // small sets differ in size, too
  const fx = generate({ seed, kind, clients: 2 + k % 4, ops: [25, 60, 120, 200][Math.floor(k / 6) % 4], split: k % 12 === 6, gc: k % 10 !== 9 })
  notes += fx.notes.length; updates += fx.updates.length
  if (fx.notes.length) { console.log(seed, kind, 'left out:', fx.notes.join('; ')); continue } // Yjs disagrees with itself
  writeFileSync(`${dir}/${String(i).padStart(4, '0')}-${kind}.json.gz`, gzipSync(JSON.stringify(fx), { level: 1 }))
}
console.log(`${count} scenarios, ${updates} transactions, ${notes} where Yjs disagrees with itself`)
