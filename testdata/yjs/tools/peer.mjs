// A client on real Yjs, driven line by line over stdin and stdout: the live half of the conformance test.
//   {"new":{"id","kind","gc","seed"}}   begin          → {}
//   {"edit":n}                          n random edits → {"u":[base64...]}
//   {"undo":true}, {"redo":true}        one step back or forth → {"u":[base64...]}
//   {"apply":base64,"v":1|2}            an update      → {"u":[base64...]}   what a clean-up emitted
//   {"sync":base64}                     a state vector → {"d1","d2"}
//   {"show":true}                                      → {"state","sv","v1","v2"}
import * as Y from 'yjs'
import { createInterface } from 'node:readline'
import { b64, unb64, rng } from './values.mjs'
import { ROOTS, root, opFor, norm, applyOp, state } from './gen.mjs'

let doc, roots, r, kind, undo
let emitted = []
const handle = m => {
  if (m.new) {
    kind = m.new.kind; roots = ROOTS[kind]; r = rng(m.new.seed)
    doc = new Y.Doc({ gc: m.new.gc, guid: 'peer' }); doc.clientID = m.new.id; emitted = []
    for (const [n, k] of Object.entries(roots)) root(doc, n, k)
    undo = new Y.UndoManager(Object.entries(roots).map(([n, k]) => root(doc, n, k)), { captureTimeout: 0 })
    doc.on('update', (u, _o, _d, tr) => { if (tr.local) emitted.push(b64(u)) })
    return {}
  }
  emitted = []
  if (m.edit) {
    doc.transact(() => { for (let i = 0; i < m.edit; i++) { const o = opFor(r, doc, roots, kind === 'rich' || kind === 'mixed', false); if (o) applyOp(doc, roots, norm(o)) } })
    return { u: emitted }
  }
  if (m.undo) { undo.undo(); return { u: emitted } }
  if (m.redo) { undo.redo(); return { u: emitted } }
  if (m.apply) {
    m.v === 2 ? Y.applyUpdateV2(doc, unb64(m.apply), 'remote') : Y.applyUpdate(doc, unb64(m.apply), 'remote')
    return { u: emitted }
  }
  if (m.sync) return { d1: b64(Y.encodeStateAsUpdate(doc, unb64(m.sync))), d2: b64(Y.encodeStateAsUpdateV2(doc, unb64(m.sync))) }
  const fresh = new Y.Doc({ gc: doc.gc, guid: 'fresh' }); fresh.clientID = 4294967295
  Y.applyUpdate(fresh, Y.encodeStateAsUpdate(doc), 'remote')
  return { state: state(doc, roots), sv: b64(Y.encodeStateVector(doc)), v1: b64(Y.encodeStateAsUpdate(fresh)), v2: b64(Y.encodeStateAsUpdateV2(fresh)) }
}
for await (const line of createInterface({ input: process.stdin })) {
  let out
  try { out = handle(JSON.parse(line)) } catch (e) { out = { error: String(e.stack) } }
  process.stdout.write(JSON.stringify(out) + '\n')
}
