package crdt

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"

	"github.com/studio-whip/collab/crdt/lib0"
)

// Kind tells values apart.
type Kind uint8

// The kinds of a Value. JavaScript has one number type; a number is KindInt when it was written as an integer, and
// KindFloat otherwise (minus zero included).
const (
	KindUndefined = Kind(lib0.KindUndefined)
	KindNull      = Kind(lib0.KindNull)
	KindBool      = Kind(lib0.KindBool)
	KindInt       = Kind(lib0.KindInt)
	KindFloat     = Kind(lib0.KindFloat)
	KindBigInt    = Kind(lib0.KindBigInt)
	KindString    = Kind(lib0.KindString)
	KindBytes     = Kind(lib0.KindBytes)
	KindList      = Kind(lib0.KindList)
	KindObject    = Kind(lib0.KindObject)
	KindShared    = KindObject + 1 // a nested shared type or subdocument
)

func (k Kind) String() string {
	if k == KindShared {
		return "shared type"
	}
	return lib0.Kind(k).String()
}

// Value is a value in a document. The zero Value is undefined, which is not null.
type Value struct {
	v      lib0.Any
	shared Shared // nil for plain values
}

// Pair is one entry of an object. Objects keep the order in which they were written.
type Pair struct {
	Key   string
	Value Value
}

// Undefined is JavaScript's undefined; Null is its null.
func Undefined() Value { return Value{} }
func Null() Value      { return Value{v: lib0.Null()} }

// BigInt is a 64-bit integer that is not a JavaScript number.
func BigInt(v int64) Value { return Value{v: lib0.BigInt(v)} }

// Object makes an object with its keys in the given order.
func Object(pairs ...Pair) (Value, error) {
	keys, values := make([]string, len(pairs)), make([]lib0.Any, len(pairs))
	for i, p := range pairs {
		if p.Value.shared != nil {
			return Value{}, fmt.Errorf("%w: a shared type inside a plain value", ErrValue)
		}
		if !validText(p.Key) {
			return Value{}, fmt.Errorf("%w: key is not valid UTF-8", ErrValue)
		}
		keys[i], values[i] = p.Key, p.Value.v
	}
	return Value{v: lib0.Object(keys, values)}, nil
}

// ValueOf converts a Go value: nil (null), bool, every integer and float type, *big.Int (bigint), string, []byte,
// []any, map[string]any (keys sorted) and Value. Integers beyond 2^53 that a double cannot hold exactly are refused;
// use BigInt.
func ValueOf(x any) (Value, error) {
	v, err := anyOf(x, 0)
	return Value{v: v}, err
}

func anyOf(x any, depth int) (lib0.Any, error) {
	if depth > lib0.MaxDepth {
		return lib0.Any{}, fmt.Errorf("%w: nested deeper than %d", ErrValue, lib0.MaxDepth)
	}
	switch x := x.(type) {
	case nil:
		return lib0.Null(), nil
	case Value:
		if x.shared != nil {
			return lib0.Any{}, fmt.Errorf("%w: shared types cannot be copied", ErrValue)
		}
		return x.v, nil
	case bool:
		return lib0.Bool(x), nil
	case string:
		if !validText(x) {
			return lib0.Any{}, fmt.Errorf("%w: string is not valid UTF-8", ErrValue)
		}
		return lib0.String(x), nil
	case []byte:
		return lib0.Bytes(x), nil
	case float32:
		return lib0.Float(float64(x)), nil
	case float64:
		return lib0.Float(x), nil
	case *big.Int:
		if x == nil || !x.IsInt64() {
			return lib0.Any{}, fmt.Errorf("%w: bigint does not fit in 64 bits", ErrValue)
		}
		return lib0.BigInt(x.Int64()), nil
	case []any:
		return listOf(x, depth)
	case map[string]any:
		return objectOf(x, depth)
	}
	return intOf(x)
}

func listOf(xs []any, depth int) (lib0.Any, error) {
	vs := make([]lib0.Any, len(xs))
	for i, x := range xs {
		v, err := anyOf(x, depth+1)
		if err != nil {
			return v, err
		}
		vs[i] = v
	}
	return lib0.List(vs...), nil
}

func objectOf(m map[string]any, depth int) (lib0.Any, error) {
	keys := slices.Sorted(maps.Keys(m))
	vs := make([]lib0.Any, len(keys))
	for i, k := range keys {
		if !validText(k) {
			return lib0.Any{}, ErrValue
		}
		v, err := anyOf(m[k], depth+1)
		if err != nil {
			return v, err
		}
		vs[i] = v
	}
	return lib0.Object(keys, vs), nil
}

func intOf(x any) (lib0.Any, error) {
	var v int64
	switch x := x.(type) {
	case int:
		v = int64(x)
	case int8:
		v = int64(x)
	case int16:
		v = int64(x)
	case int32:
		v = int64(x)
	case int64:
		v = x
	case uint8:
		v = int64(x)
	case uint16:
		v = int64(x)
	case uint32:
		v = int64(x)
	case uint:
		return uintOf(uint64(x))
	case uint64:
		return uintOf(x)
	default:
		return lib0.Any{}, fmt.Errorf("%w: %T has no form in a document", ErrValue, x)
	}
	if f := float64(v); f >= math.MaxInt64 || int64(f) != v {
		return lib0.Any{}, fmt.Errorf("%w: integer %d is not exact as a number; use BigInt", ErrValue, v)
	}
	return lib0.Int(v), nil
}

func uintOf(x uint64) (lib0.Any, error) {
	if x > math.MaxInt64 {
		return lib0.Any{}, fmt.Errorf("%w: integer %d is too large", ErrValue, x)
	}
	return intOf(int64(x))
}

// Kind returns what the value is.
func (v Value) Kind() Kind {
	if v.shared != nil {
		return KindShared
	}
	return Kind(v.v.Kind())
}

// Bool returns a boolean, false for other kinds.
func (v Value) Bool() bool { return v.v.AsBool() }

// Int returns a number or bigint as an integer, cutting off a fraction.
func (v Value) Int() int64 { return v.v.AsInt() }

// Float returns a number as a double.
func (v Value) Float() float64 { return v.v.AsFloat() }

// Bytes returns a copy of a byte value.
func (v Value) Bytes() []byte {
	if v.Kind() != KindBytes {
		return nil
	}
	return []byte(v.v.AsString())
}

// List returns the elements of a list.
func (v Value) List() []Value {
	if v.Kind() != KindList {
		return nil
	}
	out := make([]Value, len(v.v.Items()))
	for i, x := range v.v.Items() {
		out[i] = Value{v: x}
	}
	return out
}

// Object returns the entries of an object in their order.
func (v Value) Object() []Pair {
	if v.Kind() != KindObject {
		return nil
	}
	out := make([]Pair, len(v.v.Items()))
	for i, x := range v.v.Items() {
		out[i] = Pair{v.v.Keys()[i], Value{v: x}}
	}
	return out
}

// String returns the text of a string, and for other kinds a form for people to read.
func (v Value) String() string {
	switch v.Kind() {
	case KindString:
		return v.v.AsString()
	case KindBool:
		return fmt.Sprint(v.Bool())
	case KindInt, KindBigInt:
		return fmt.Sprint(v.Int())
	case KindFloat:
		return fmt.Sprint(v.Float())
	case KindBytes:
		return fmt.Sprintf("%x", v.v.AsString())
	case KindList:
		return fmt.Sprint(v.List())
	case KindObject:
		return fmt.Sprint(v.Object())
	}
	return v.Kind().String()
}
