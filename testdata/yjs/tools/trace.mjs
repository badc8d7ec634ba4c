// Plays a trace of concurrent sessions on real Yjs: node trace.mjs <TRACE.json >RESULT.json
//   {"agents":2,"txns":[[agent,[parents...],[[at,delete,"insert"]...]]...]}   parents are indexes of earlier txns
//   → {"text","sv","v1","v2","emitted"}   of the first agent in the end; emitted is the SHA-256 over all updates
// An agent is one client (its number + 1). Before each of its transactions it receives, in order, what the parents knew.
import * as Y from 'yjs'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { b64 } from './values.mjs'

const { agents, txns } = JSON.parse(readFileSync(0))
const own = Array.from({ length: agents }, () => []) // of each agent: the indexes of its transactions
const knows = [] // of each transaction: how many of each agent's transactions it builds on, itself included
const updates = []; const emitted = createHash('sha256'); let last
const docs = Array.from({ length: agents }, (_, a) => {
  const doc = new Y.Doc({ guid: 'trace' }); doc.clientID = a + 1; doc.getText('text')
  doc.on('update', (u, _o, _d, tr) => { if (tr.local) last = u })
  return { doc, has: Array(agents).fill(0) }
})
const receive = (a, upTo) => upTo.forEach((n, from) => {
  for (const me = docs[a]; from !== a && me.has[from] < n; me.has[from]++) Y.applyUpdate(me.doc, updates[own[from][me.has[from]]], 'remote')
})
txns.forEach(([a, parents, patches], i) => {
  const k = Array(agents).fill(0)
  for (const p of parents) knows[p].forEach((n, x) => { k[x] = Math.max(k[x], n) })
  receive(a, k)
  const text = docs[a].doc.getText('text'); last = null
  docs[a].doc.transact(() => { for (const [at, n, s] of patches) { if (n) text.delete(at, n); if (s) text.insert(at, s) } })
  updates.push(last ?? Uint8Array.of(0, 0)); emitted.update(updates[i])
  own[a].push(i); k[a] = own[a].length; knows.push(k)
})
docs.forEach((_, a) => receive(a, own.map(o => o.length)))
const [first, ...others] = docs.map(d => d.doc.getText('text').toString())
if (others.some(t => t !== first)) throw new Error('the sessions end different')
const doc = docs[0].doc; const fresh = new Y.Doc({ guid: 'fresh' }); fresh.clientID = 4294967295
Y.applyUpdate(fresh, Y.encodeStateAsUpdate(doc), 'remote')
process.stdout.write(JSON.stringify({ text: first, sv: b64(Y.encodeStateVector(doc)), v1: b64(Y.encodeStateAsUpdate(fresh)), v2: b64(Y.encodeStateAsUpdateV2(fresh)), emitted: emitted.digest('hex') }))
