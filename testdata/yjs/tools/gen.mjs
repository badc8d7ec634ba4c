// Generates one scenario: random edits of several clients on real Yjs, with every byte they emit.
// node gen.mjs --seed S --kind text|map|array|xml|rich|mixed --clients N --ops M [--split-surrogates] [--nogc] --out file.json[.gz]
import * as Y from 'yjs'
import { writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { pathToFileURL } from 'node:url'
import { enc, dec, b64, unb64, stable, rng } from './values.mjs'

export const ROOTS = {
  text: { t: 'text' }, rich: { t: 'text' }, map: { m: 'map' }, array: { a: 'array' }, xml: { x: 'xml' },
  mixed: { t: 'text', m: 'map', a: 'array', x: 'xml' }
}
const newType = k => ({ text: () => new Y.Text(), map: () => new Y.Map(), array: () => new Y.Array(), xmltext: () => new Y.XmlText() }[k] || (() => new Y.XmlElement(k.slice(3))))()
export const root = (doc, name, kind) => kind === 'text' ? doc.getText(name) : kind === 'map' ? doc.getMap(name) : kind === 'array' ? doc.getArray(name) : doc.getXmlFragment(name)
export const step = (t, s) => t instanceof Y.Map ? t.get(s) : t.get(s)
export const resolve = (doc, roots, path) => path.slice(1).reduce(step, root(doc, path[0], roots[path[0]]))

// ---- neutral view of a type ----
const view = v => v instanceof Y.AbstractType ? tree(v) : enc(v)
const deltaView = t => t.toDelta().map(d => {
  const o = typeof d.insert === 'string' ? { insert: d.insert } : d.insert instanceof Y.AbstractType ? { type: tree(d.insert) } : { embed: enc(d.insert) }
  if (d.attributes) o.attributes = enc(d.attributes)
  return o
})
export const tree = t => {
  if (t instanceof Y.XmlElement) return { kind: 'xmlelement', name: t.nodeName, attrs: enc(t.getAttributes()), children: t.toArray().map(tree) }
  if (t instanceof Y.XmlText) return { kind: 'xmltext', attrs: enc(t.getAttributes()), delta: deltaView(t) }
  if (t instanceof Y.XmlFragment) return { kind: 'xmlfragment', children: t.toArray().map(tree) }
  if (t instanceof Y.Text) return { kind: 'text', delta: deltaView(t) }
  if (t instanceof Y.Map) return { kind: 'map', entries: Object.fromEntries([...t.entries()].map(([k, v]) => [k, view(v)])) }
  return { kind: 'array', items: t.toArray().map(view) }
}
export const state = (doc, roots) => Object.fromEntries(Object.entries(roots).map(([n, k]) => [n, tree(root(doc, n, k))]))
export const json = (doc, roots) => Object.fromEntries(Object.entries(roots).map(([n, k]) => [n, enc(root(doc, n, k).toJSON())]))
export const svOf = doc => Object.fromEntries([...Y.decodeStateVector(Y.encodeStateVector(doc))].sort((a, b) => a[0] - b[0]))
const dsOf = doc => Object.fromEntries([...Y.snapshot(doc).ds.clients].sort((a, b) => a[0] - b[0]).map(([c, l]) => [c, l.map(d => [d.clock, d.len])]))
const pendingOf = doc => ({ structs: doc.store.pendingStructs !== null, ds: doc.store.pendingDs !== null })

// ---- random material ----
const ASTRAL = ['😀', '👨‍👩‍👧', '𝒳', '🏳️‍🌈', '🇩🇪', '👍🏽', '𠮷']
const WORDS = ['a', 'b', 'the ', 'quick', ' brown ', 'fox\n', 'é', 'ß', '日本', 'עברית', '\t', 'e\u0301', '\u200d', 'lorem ipsum dolor sit amet ', '<&">']
const str = r => { let s = ''; for (let i = 0, n = 1 + r.int(4); i < n; i++) s += r.p(0.18) ? r.pick(ASTRAL) : r.pick(WORDS); return s }
const KEYS = ['k0', 'k1', 'k2', 'k3', 'ключ', 'k😀', '']
const ATTR = [['b', [true, null]], ['i', [true, null]], ['color', ['red', 'blue', null]], ['link', [{ href: 'u' }, { href: 'v' }, null]], ['n', [1, 2.5, null]]]
const attrs = r => Object.fromEntries(Array.from({ length: 1 + r.int(2) }, () => r.pick(ATTR)).map(([k, vs]) => [k, r.pick(vs)]))
const value = (r, inArray, d = 0) => {
  switch (r.int(d > 1 ? 11 : 14)) {
    case 0: return null
    case 1: return r.p(0.5)
    case 2: return r.int(100) - 50
    case 3: return r.pick([0, -0, 63, 64, -64, 127, 128, 8191, 8192, 2147483647, -2147483647, 2147483648, -2147483648, 4294967296, 9007199254740991, -9007199254740991])
    case 4: return r.pick([0.5, 0.1, -1.25, 1e300, 3.4028234663852886e38, 1.401298464324817e-45, 1e-310, Infinity, -Infinity])
    case 5: case 6: return str(r)
    case 7: return ''
    case 8: return new Uint8Array(Array.from({ length: r.int(12) }, () => r.int(256)))
    case 9: return (inArray && d === 0) ? 7 : r.pick([0n, 1n, -1n, 9223372036854775807n, -9223372036854775808n])
    case 10: return (inArray && d === 0) ? 'x' : undefined
    case 11: return Array.from({ length: r.int(4) }, () => value(r, false, d + 1))
    case 12: return Object.fromEntries(Array.from({ length: r.int(4) }, () => [r.pick(KEYS) + r.int(3), value(r, false, d + 1)]))
    default: return { k: str(r) }
  }
}
// JSON-only value (embeds and format values go through JSON in v1)
const jvalue = r => r.pick([{ image: 'u' + r.int(5) }, { w: r.int(9), t: ['x', null, true] }, { s: str(r) }])

// ---- one random op against a client's own view; returns a neutral op or null ----
const CONTAINERS = ['text', 'map', 'array']
const safeCut = (s, i) => i > 0 && i < s.length && /[\ud800-\udbff]/.test(s[i - 1]) && /[\udc00-\udfff]/.test(s[i]) ? i + 1 : i
const flat = t => { let s = ''; for (const d of t.toDelta()) s += typeof d.insert === 'string' ? d.insert : '\ufffc'; return s }
const pickPath = (r, doc, roots) => {
  const names = Object.keys(roots); const path = [r.pick(names)]
  let t = resolve(doc, roots, path)
  for (let depth = 0; depth < 3; depth++) {
    let kids = []
    if (t instanceof Y.Map) kids = [...t.entries()].filter(([, v]) => v instanceof Y.AbstractType).map(([k]) => k)
    else if (t instanceof Y.Array || t instanceof Y.XmlFragment) kids = t.toArray().map((v, i) => [v, i]).filter(([v]) => v instanceof Y.AbstractType).map(([, i]) => i)
    const stay = t instanceof Y.XmlFragment ? 0.3 : 0.5
    if (!kids.length || r.p(stay)) break
    path.push(r.pick(kids)); t = step(t, path.at(-1))
  }
  return [path, t]
}
export const opFor = (r, doc, roots, rich, split) => {
  const [path, t] = pickPath(r, doc, roots)
  if (t instanceof Y.Text) {
    const s = flat(t); const fmt = rich || t instanceof Y.XmlText
    const cut = i => split ? i : safeCut(s, i)
    const w = r.int(fmt ? 12 : 8)
    if (w < 5 || s.length === 0) {
      const o = { op: 'tins', path, i: cut(r.int(s.length + 1)), s: str(r) }
      if (fmt && r.p(0.4)) o.a = r.p(0.3) ? {} : attrs(r)
      return o
    }
    const i = cut(r.int(s.length)); const n = Math.max(0, cut(Math.min(s.length, i + 1 + r.int(8))) - i)
    if (n === 0) return null
    if (w < 8) return { op: 'tdel', path, i, n }
    if (w < 10) return { op: 'tfmt', path, i, n, a: attrs(r) }
    if (w < 11) { const o = { op: 'temb', path, i, v: jvalue(r) }; if (r.p(0.4)) o.a = attrs(r); return o }
    const d = []; if (i) d.push({ retain: i }); if (r.p(0.5)) d.push({ retain: n, attributes: attrs(r) }); else d.push({ delete: n })
    d.push(r.p(0.5) ? { insert: str(r), attributes: attrs(r) } : { insert: str(r) })
    return { op: 'tdelta', path, d }
  }
  if (t instanceof Y.XmlFragment) { // includes XmlElement
    const n = t.length; const w = r.int(10)
    if (t instanceof Y.XmlElement && w >= 7) return w === 9 ? { op: 'xdelattr', path, k: r.pick(['id', 'cls', 'x']) } : { op: 'xattr', path, k: r.pick(['id', 'cls', 'x']), v: str(r) }
    if (w < 5 || n === 0) return { op: 'xins', path, i: r.int(n + 1), nodes: Array.from({ length: 1 + r.int(2) }, () => r.p(0.5) && path.length < 4 ? 'el:' + r.pick(['p', 'div', 'h1']) : 'xmltext') }
    const i = r.int(n); return { op: 'xdel', path, i, n: 1 + r.int(Math.min(2, n - i)) }
  }
  if (t instanceof Y.Map) {
    const k = r.pick(KEYS); const w = r.int(12)
    if (w === 0) return { op: 'mclear', path }
    if (w < 3) return { op: 'mdel', path, k }
    if (w < 5 && path.length < 4) return { op: 'mset', path, k, type: r.pick(CONTAINERS) }
    return { op: 'mset', path, k, v: value(r, false) }
  }
  const n = t.length
  if (r.int(10) < 7 || n === 0) {
    const i = r.int(n + 1)
    if (r.p(0.2) && path.length < 4) return { op: 'ains', path, i, type: r.pick(CONTAINERS) }
    return { op: 'ains', path, i, vs: Array.from({ length: 1 + r.int(4) }, () => value(r, true)) }
  }
  const i = r.int(n); return { op: 'adel', path, i, n: 1 + r.int(Math.min(4, n - i)) }
}
// norm writes an op as the fixture will have it. Attributes become objects of their own: Yjs tells whether two are the same
// object, which nobody can who reads the fixture.
export const norm = o => { const c = structuredClone(o); if ('v' in o) c.v = enc(o.v); if ('vs' in o) c.vs = o.vs.map(enc); return c }
export const applyOp = (doc, roots, o) => {
  const t = resolve(doc, roots, o.path)
  switch (o.op) {
    case 'tins': o.a ? t.insert(o.i, o.s, { ...o.a }) : t.insert(o.i, o.s); break
    case 'tdel': t.delete(o.i, o.n); break
    case 'tfmt': t.format(o.i, o.n, { ...o.a }); break
    case 'temb': o.a ? t.insertEmbed(o.i, dec(o.v), { ...o.a }) : t.insertEmbed(o.i, dec(o.v)); break
    case 'tdelta': t.applyDelta(o.d.map(d => d.attributes ? { ...d, attributes: { ...d.attributes } } : d)); break
    case 'ains': t.insert(o.i, o.type ? [newType(o.type)] : o.vs.map(dec)); break
    case 'adel': t.delete(o.i, o.n); break
    case 'mset': t.set(o.k, o.type ? newType(o.type) : dec(o.v)); break
    case 'mdel': t.delete(o.k); break
    case 'mclear': t.clear(); break
    case 'xins': t.insert(o.i, o.nodes.map(newType)); break
    case 'xdel': t.delete(o.i, o.n); break
    case 'xattr': t.setAttribute(o.k, o.v); break
    case 'xdelattr': t.removeAttribute(o.k); break
    default: throw new Error('bad op ' + o.op)
  }
}

export const generate = ({ seed, kind, clients, ops, split = false, gc = true }) => {
  const r = rng(seed * 2654435761)
  const roots = ROOTS[kind]
  const big = r.p(0.3) // wide client ids exercise long var-ints
  const ids = []; while (ids.length < clients) { const id = big ? r.u32() : 1 + r.int(1000); if (!ids.includes(id) && id > 0) ids.push(id) }
  const updates = []; const events = []; const seen = ids.map(() => new Set())
  let buf = null
  const docs = ids.map((id, c) => {
    const d = new Y.Doc({ gc, guid: 'fixture-' + seed }); d.clientID = id
    for (const [n, k] of Object.entries(roots)) root(d, n, k)
    let v1 = null
    d.on('update', (u, _o, _d, tr) => { v1 = tr.local ? u : null })
    d.on('updateV2', (u, _o, _d, tr) => { if (!tr.local) return; seen[c].add(updates.length); buf.push(updates.length); updates.push({ by: c, v1: b64(v1), v2: b64(u) }) })
    return d
  })
  const capture = f => { buf = []; f(); const b = buf; buf = null; return b }
  const deliver = (c, u, v) => {
    const up = updates[u]
    const e = { t: 'recv', c, u, v }
    const auto = capture(() => v === 2 ? Y.applyUpdateV2(docs[c], unb64(up.v2), 'remote') : Y.applyUpdate(docs[c], unb64(up.v1), 'remote'))
    if (auto.length) e.auto = auto
    seen[c].add(u); events.push(e)
    const p = pendingOf(docs[c])
    if ((p.structs || p.ds) && pendChecks < 6 && r.p(0.15)) { pendChecks++; check(c) }
  }
  let pendChecks = 0
  const check = c => events.push({ t: 'check', c, sv: svOf(docs[c]), pending: pendingOf(docs[c]), state: state(docs[c], roots) })
  let edits = 0; let steps = 0
  const every = Math.max(10, Math.floor(ops / 4))
  const edit = c => {
    const list = []
    const us = capture(() => docs[c].transact(() => {
      for (let j = 0, n = r.p(0.75) ? 1 : 1 + r.int(4); j < n; j++) {
        let o = opFor(r, docs[c], roots, kind === 'rich' || kind === 'mixed', split)
        if (!o) continue
        o = norm(o); applyOp(docs[c], roots, o); list.push(o); edits++
      }
    }))
    if (list.length) events.push({ t: 'op', c, ops: list, u: us })
  }
  while (edits < ops && steps++ < ops * 30) {
    const c = r.int(clients); const x = r.f()
    if (x < 0.5) edit(c)
    else if (x < 0.9) {
      const todo = updates.map((_, i) => i).filter(i => !seen[c].has(i))
      if (!todo.length) continue
      for (let k = 0, n = 1 + r.int(4); k < n && todo.length; k++) { const j = r.p(0.6) ? 0 : r.int(todo.length); deliver(c, todo.splice(j, 1)[0], r.p(0.3) ? 2 : 1) }
    } else if (x < 0.95) { if (updates.length) deliver(c, r.int(updates.length), 1) } // duplicate or early
    else { // state-vector sync from a peer
      const from = r.int(clients); if (from === c) continue
      const sv = Y.encodeStateVector(docs[c]); const v = r.p(0.3) ? 2 : 1
      const d1 = Y.encodeStateAsUpdate(docs[from], sv); const d2 = Y.encodeStateAsUpdateV2(docs[from], sv)
      const e = { t: 'sync', c, from, v, sv: b64(sv), d1: b64(d1), d2: b64(d2) }
      const auto = capture(() => v === 2 ? Y.applyUpdateV2(docs[c], d2, 'remote') : Y.applyUpdate(docs[c], d1, 'remote'))
      if (auto.length) e.auto = auto
      events.push(e)
    }
    if (events.length % every === 0) check(c)
  }
  for (let again = true; again;) { // quiesce
    again = false
    for (let c = 0; c < clients; c++) {
      const todo = updates.map((_, i) => i).filter(i => !seen[c].has(i))
      while (todo.length) { again = true; deliver(c, todo.splice(r.int(todo.length), 1)[0], r.p(0.3) ? 2 : 1) }
    }
  }
  const states = docs.map(d => stable(state(d, roots)))
  const notes = []
  if (states.some(s => s !== states[0])) notes.push('yjs: clients differ after full exchange')
  // canonical: load the full state of client 0 into a fresh doc and encode again
  const load = (u, v) => { const d = new Y.Doc({ gc, guid: 'fixture-' + seed }); d.clientID = 4294967295; for (const [n, k] of Object.entries(roots)) root(d, n, k); v === 2 ? Y.applyUpdateV2(d, u, 'remote') : Y.applyUpdate(d, u, 'remote'); return d }
  const full1 = Y.encodeStateAsUpdate(docs[0]); const full2 = Y.encodeStateAsUpdateV2(docs[0])
  const fresh = load(full1, 1); const canon1 = Y.encodeStateAsUpdate(fresh); const canon2 = Y.encodeStateAsUpdateV2(fresh)
  const re = load(canon1, 1)
  if (b64(Y.encodeStateAsUpdate(re)) !== b64(canon1)) notes.push('yjs: canonical encoding is not a fixed point')
  if (stable(state(fresh, roots)) !== states[0]) notes.push('yjs: fresh load differs from client 0')
  const all1 = updates.map(u => unb64(u.v1)); const all2 = updates.map(u => unb64(u.v2))
  const final = {
    state: state(docs[0], roots), json: json(docs[0], roots), sv: svOf(docs[0]), ds: dsOf(docs[0]),
    svBytes: b64(Y.encodeStateVector(docs[0])), snapshot1: b64(Y.encodeSnapshot(Y.snapshot(docs[0]))), snapshot2: b64(Y.encodeSnapshotV2(Y.snapshot(docs[0]))),
    full1: b64(full1), full2: b64(full2), canon1: b64(canon1), canon2: b64(canon2)
  }
  const utils = { merged1: b64(Y.mergeUpdates(all1)), merged2: b64(Y.mergeUpdatesV2(all2)) }
  utils.mergedSv = b64(Y.encodeStateVectorFromUpdate(unb64(utils.merged1)))
  const half = Object.fromEntries(Object.entries(final.sv).map(([k, v]) => [k, Math.floor(v / 2)]))
  const halfSv = Y.encodeStateVector(new Map(Object.entries(half).map(([k, v]) => [Number(k), v])))
  utils.diff = { sv: b64(halfSv), u1: b64(Y.diffUpdate(unb64(utils.merged1), halfSv)), doc1: b64(Y.encodeStateAsUpdate(docs[0], halfSv)), doc2: b64(Y.encodeStateAsUpdateV2(docs[0], halfSv)) }
  // relative positions on the root text: position -> encoded -> resolved index in the final doc
  const rpos = []
  if (roots.t) {
    const t = docs[0].getText('t')
    for (let k = 0; k < 6; k++) {
      const i = r.int(t.length + 1); const assoc = r.p(0.5) ? 0 : -1
      const p = Y.createRelativePositionFromTypeIndex(t, i, assoc)
      const abs = Y.createAbsolutePositionFromRelativePosition(p, docs[0])
      rpos.push({ root: 't', i, assoc, enc: b64(Y.encodeRelativePosition(p)), abs: abs && abs.index })
    }
  }
  const fx = { schema: 1, ref: 'yjs@13.6.33', seed, kind, clients: ids, ops: edits, gc, splitSurrogates: split, roots, updates, events, final, utils, rpos, notes }
  return fx
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const a = process.argv.slice(2); const arg = (n, d) => { const i = a.indexOf('--' + n); return i < 0 ? d : a[i + 1] }
  const fx = generate({ seed: +arg('seed', 1), kind: arg('kind', 'text'), clients: +arg('clients', 3), ops: +arg('ops', 60), split: a.includes('--split-surrogates'), gc: !a.includes('--nogc') })
  const s = JSON.stringify(fx); const out = arg('out')
  if (out) writeFileSync(out, out.endsWith('.gz') ? gzipSync(s, { level: 9 }) : s); else process.stdout.write(s)
  console.error(JSON.stringify({ seed: fx.seed, kind: fx.kind, updates: fx.updates.length, events: fx.events.length, bytes: s.length, notes: fx.notes }))
}
