package crdt

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/studio-whip/collab/crdt/lib0"
)

// fixtureAttrs keeps apart no attributes (nil) and none at all (empty).
func fixtureAttrs(raw json.RawMessage) []Attr {
	if len(raw) == 0 {
		return nil
	}
	out := []Attr{}
	v := jsonValue(raw).v
	for i, k := range v.Keys() {
		out = append(out, Attr{k, lib0.AppendJSON(nil, v.Items()[i])})
	}
	return out
}

// fixtureValue turns the fixtures' tagged JSON into a Value. The order of an object's keys matters.
func fixtureValue(raw json.RawMessage) Value { return Value{v: untag(jsonValue(raw).v)} }

func untag(v lib0.Any) lib0.Any {
	switch v.Kind() {
	case lib0.KindList:
		var out []lib0.Any
		for _, x := range v.Items() {
			out = append(out, untag(x))
		}
		return lib0.List(out...)
	case lib0.KindObject:
		get := func(k string) lib0.Any {
			if i := slices.Index(v.Keys(), k); i >= 0 {
				return v.Items()[i]
			}
			return lib0.Any{}
		}
		switch get("$").AsString() {
		case "undef":
			return lib0.Undefined()
		case "bigint":
			n, _ := strconv.ParseInt(get("v").AsString(), 10, 64)
			return lib0.BigInt(n)
		case "bin":
			b, _ := base64.StdEncoding.DecodeString(get("v").AsString())
			return lib0.Bytes(b)
		case "num":
			f, _ := strconv.ParseFloat(get("v").AsString(), 64)
			return lib0.Float(f)
		case "obj":
			v = get("v")
		}
		var out []lib0.Any
		for _, x := range v.Items() {
			out = append(out, untag(x))
		}
		return lib0.Object(v.Keys(), out)
	}
	return v
}

// state is the neutral view of the fixtures, made from the inside of the engine.
func (fx *fixture) state(d *Doc) any {
	out := map[string]any{}
	for name, k := range fx.Roots {
		b := d.roots[name]
		if b == nil {
			b = &branch{}
		}
		out[name] = d.tree(b, map[string]string{"text": "text", "map": "map", "array": "array", "xml": "xmlfragment"}[k])
	}
	return out
}

func (d *Doc) tree(b *branch, kind string) any {
	out := map[string]any{"kind": kind}
	switch kind {
	case "text":
		out["delta"] = d.deltaTree(b)
	case "xmltext":
		out["delta"], out["attrs"] = d.deltaTree(b), d.entriesTree(b)
	case "array":
		out["items"] = d.itemsTree(b)
	case "map":
		out["entries"] = d.entriesTree(b)
	case "xmlfragment":
		out["children"] = d.itemsTree(b)
	case "xmlelement":
		out["name"], out["attrs"], out["children"] = string(b.node), d.entriesTree(b), d.itemsTree(b)
	}
	return out
}

func (d *Doc) itemTree(it *item, i uint32) any {
	if it.kind == kindType {
		b := d.branches[it.off]
		return d.tree(b, []string{"array", "map", "text", "xmlelement", "xmlfragment", "hook", "xmltext"}[b.typeRef])
	}
	return neutral(d.value(it, i).v)
}

func (d *Doc) itemsTree(b *branch) any {
	out := []any{}
	for r := b.start; r != 0; r = d.items.at(r).right {
		it := d.items.at(r)
		for i := uint32(0); i < it.visible(); i++ {
			out = append(out, d.itemTree(it, i))
		}
	}
	return out
}

func (d *Doc) entriesTree(b *branch) any {
	out := map[string]any{}
	for sub, r := range b.entries {
		if it := d.items.at(r); !it.deleted() {
			out[d.subName(sub)] = d.itemTree(it, it.len-1)
		}
	}
	return out
}

func (d *Doc) deltaTree(b *branch) any {
	out := []any{}
	attrs := map[string]any{}
	text := ""
	emit := func(op map[string]any) {
		if len(attrs) > 0 {
			a := map[string]any{}
			for k, v := range attrs {
				a[k] = v
			}
			op["attributes"] = a
		}
		out = append(out, op)
	}
	flush := func() {
		if text != "" {
			emit(map[string]any{"insert": text})
			text = ""
		}
	}
	for r := b.start; r != 0; r = d.items.at(r).right {
		it := d.items.at(r)
		if it.deleted() {
			continue
		}
		switch it.kind {
		case kindString:
			text += string(d.payload(it))
		case kindFormat:
			flush()
			rd := lib0.NewReader(d.payload(it))
			key, _ := rd.Text()
			if v := neutral(jsonValue(rd.Buffer()).v); v == nil {
				delete(attrs, string(key))
			} else {
				attrs[string(key)] = v
			}
		case kindEmbed:
			flush()
			emit(map[string]any{"embed": d.itemTree(it, 0)})
		case kindType:
			flush()
			emit(map[string]any{"type": d.itemTree(it, 0)})
		}
	}
	flush()
	return out
}

// neutral is the fixtures' tagged JSON form of a value.
func neutral(v lib0.Any) any {
	tag := func(kind string, x any) any { return map[string]any{"$": kind, "v": x} }
	switch v.Kind() {
	case lib0.KindUndefined:
		return map[string]any{"$": "undef"}
	case lib0.KindNull:
		return nil
	case lib0.KindBool:
		return v.AsBool()
	case lib0.KindInt, lib0.KindFloat:
		f := v.AsFloat()
		switch {
		case f == 0 && math.Signbit(f):
			return tag("num", "-0")
		case f != f:
			return tag("num", "NaN")
		case math.IsInf(f, 1):
			return tag("num", "Infinity")
		case math.IsInf(f, -1):
			return tag("num", "-Infinity")
		}
		return f
	case lib0.KindBigInt:
		return tag("bigint", strconv.FormatInt(v.AsInt(), 10))
	case lib0.KindString:
		return v.AsString()
	case lib0.KindBytes:
		return tag("bin", base64.StdEncoding.EncodeToString([]byte(v.AsString())))
	case lib0.KindList:
		out := []any{}
		for _, x := range v.Items() {
			out = append(out, neutral(x))
		}
		return out
	}
	out := map[string]any{}
	for i, k := range v.Keys() {
		out[k] = neutral(v.Items()[i])
	}
	if slices.Contains(v.Keys(), "$") {
		return tag("obj", out)
	}
	return out
}

func difference(got, want any) string {
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	i := 0
	for i < len(g) && i < len(w) && g[i] == w[i] {
		i++
	}
	cut := func(b []byte) string { return string(b[max(0, i-60):min(len(b), i+60)]) }
	return fmt.Sprintf("\n got …%s\nwant …%s", cut(g), cut(w))
}
