// Yjs under the stopwatch, driven line by line over stdin and stdout by internal/testbed/crdtbench. Needs --expose-gc.
//   {"trace":path}                load edits                                    → {"node","yjs"}
//   {"run":"local"}               every edit a transaction, every update kept   → {"ms","text","updates"}
//   {"run":"each"}                those updates, one by one, into a new document → {"ms","text"}
//   {"run":"parse","times":n}     the whole document into a new one, and its text → {"ms","text"}
//   {"run":"encode","times":n}    the whole document as an update               → {"ms","text"}
//   {"run":"heap"}                live memory of a loaded document              → {"bytes","text"}
// ms is for one of n times; text and updates are SHA-256 sums.
import * as Y from 'yjs'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'

const sha = parts => { const h = createHash('sha256'); for (const p of parts) h.update(p); return h.digest('hex') }
const text = doc => doc.getText('text').toString()
const fresh = id => { const doc = new Y.Doc(); doc.clientID = id; doc.getText('text'); return doc }
const clock = (times, f) => { global.gc(); const s = performance.now(); for (let i = 0; i < times; i++) f(); return (performance.now() - s) / times }
const memory = () => { global.gc(); global.gc(); const m = process.memoryUsage(); return m.heapUsed + m.arrayBuffers }

let patches, updates, full
const runs = {
  local () {
    const doc = fresh(1); const t = doc.getText('text'); const out = []
    doc.on('update', u => out.push(u))
    const ms = clock(1, () => {
      for (const [at, del, ins] of patches) doc.transact(() => { if (del) t.delete(at, del); if (ins) t.insert(at, ins) })
    })
    updates = out; full = Y.encodeStateAsUpdate(doc)
    return { ms, text: sha([text(doc)]), updates: sha(updates) }
  },
  each () {
    const doc = fresh(2)
    const ms = clock(1, () => { for (const u of updates) Y.applyUpdate(doc, u) })
    return { ms, text: sha([text(doc)]) }
  },
  parse (times) {
    let s
    const ms = clock(times, () => { const doc = fresh(2); Y.applyUpdate(doc, full); s = text(doc) })
    return { ms, text: sha([s]) }
  },
  encode (times) {
    const doc = fresh(2); Y.applyUpdate(doc, full)
    let u
    const ms = clock(times, () => { u = Y.encodeStateAsUpdate(doc) })
    return { ms, text: sha([text(doc)]), updates: sha([u]) }
  },
  heap () {
    const before = memory()
    const doc = fresh(2); Y.applyUpdate(doc, full)
    const bytes = memory() - before
    return { bytes, text: sha([text(doc)]) }
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  let out
  try {
    const m = JSON.parse(line)
    if (m.trace) {
      patches = JSON.parse(gunzipSync(readFileSync(m.trace))).patches
      updates = full = null
      out = { node: process.version, yjs: JSON.parse(readFileSync(new URL('node_modules/yjs/package.json', import.meta.url))).version }
    } else out = runs[m.run](m.times)
  } catch (e) { out = { error: String(e.stack) } }
  process.stdout.write(JSON.stringify(out) + '\n')
}
