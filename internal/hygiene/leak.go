// Package hygiene finds secrets that a careless line of a program could print. The compiler tells what every exported
// type of the module is made of, down to the fields that reflection can see; [Leaks] follows the rules by which packages
// fmt and encoding/json print, and reports each way to something that is named like a secret.
//
// It goes by types and names. A secret in a field that is not named like one, or behind an interface, it does not see:
// the rooms print those with real values in their own tests.
package hygiene

import (
	"fmt"
	"go/types"
	"regexp"
	"strings"
)

// secretType matches the names of types that are secrets as a whole, wherever they come from.
var secretType = regexp.MustCompile(`^(PrivateKey|SecretKey|Seed)$|DecapsulationKey|PrivateKey\d*$`)

// secretField matches the names of fields whose bytes or text are a secret, but for what is published of one; keyField
// those whose bytes are, as the key of a map is often a text.
var (
	secretField = regexp.MustCompile(`(?i)seed|secret|pass(phrase|word)|private|^pin$|^puk$|phrase|master|^kek$|mnemonic`)
	published   = regexp.MustCompile(`(Blob|Commit|Hash|ID|Size)$`)
	keyField    = regexp.MustCompile(`(?i)^keys?$`)
)

// secret tells whether a field is named like a secret and made like one in the open.
func (p *printer) secret(field *types.Var, pointers int) bool {
	name := field.Name()
	switch {
	case published.MatchString(name):
		return false
	case secretField.MatchString(name):
		return p.plain(field.Type(), pointers, true)
	}
	return keyField.MatchString(name) && p.plain(field.Type(), pointers, false)
}

// Leaks returns the ways by which a value of a named type prints a secret, such as "Options.Key by json".
func Leaks(named *types.Named) []string {
	var found []string
	for _, p := range []printer{
		{how: "fmt", method: "Format", unexported: true, pointers: 1},
		{how: "json", method: "MarshalJSON", pointers: 1 << 10},
	} {
		p.found = &found
		p.seen = map[visit]bool{}
		// A program prints the value or a pointer to it; the pointer has the methods of both.
		if !p.hides(named) {
			p.walk(named, named.Obj().Name(), true, p.pointers)
		}
	}
	return found
}

// printer walks a type as a printing package does.
type printer struct {
	how        string
	method     string // the type's own say in how it is printed
	unexported bool   // whether unexported fields are printed
	pointers   int    // how many pointers, one after another, are followed below the first
	seen       map[visit]bool
	found      *[]string
}

type visit struct {
	typ      types.Type
	asked    bool
	pointers int
}

// hides tells whether a value of this type decides by itself how it is printed.
func (p *printer) hides(t types.Type) bool {
	has := func(name string) bool {
		m := types.NewMethodSet(t).Lookup(nil, name)
		return m != nil && m.Kind() == types.MethodVal
	}
	return has(p.method) || p.how == "json" && has("MarshalText")
}

// walk looks for secrets in t. asked tells whether the type's own methods are asked: package fmt asks none below an
// unexported field.
func (p *printer) walk(t types.Type, path string, asked bool, pointers int) {
	at := visit{t, asked, pointers}
	if p.seen[at] {
		return
	}
	p.seen[at] = true
	if foreignSecret(t) || ownSecret(t) {
		p.report(path)
		return
	}
	switch u := t.Underlying().(type) {
	case *types.Struct:
		for field := range u.Fields() {
			if field.Exported() || field.Embedded() || p.unexported {
				p.field(field, path, asked && field.Exported(), pointers)
			}
		}
	case *types.Pointer:
		if pointers > 0 {
			p.below(u.Elem(), path, asked, pointers-1)
		}
	case *types.Slice:
		p.below(u.Elem(), path, asked, pointers)
	case *types.Array:
		p.below(u.Elem(), path, asked, pointers)
	case *types.Map:
		p.below(u.Key(), path, asked, pointers)
		p.below(u.Elem(), path, asked, pointers)
	}
}

// below is walk for what a value holds.
func (p *printer) below(t types.Type, path string, asked bool, pointers int) {
	if !asked || !p.hides(t) {
		p.walk(t, path, asked, pointers)
	}
}

func (p *printer) field(field *types.Var, path string, asked bool, pointers int) {
	if asked && p.hides(field.Type()) {
		return
	}
	path += "." + field.Name()
	if p.secret(field, pointers) {
		p.report(path)
		return
	}
	p.walk(field.Type(), path, asked, pointers)
}

// plain tells whether a type is bytes, or if that counts text, or a list of those.
func (p *printer) plain(t types.Type, pointers int, text bool) bool {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return text && u.Kind() == types.String
	case *types.Slice:
		return isByte(u.Elem()) || p.plain(u.Elem(), pointers, text)
	case *types.Array:
		return isByte(u.Elem()) || p.plain(u.Elem(), pointers, text)
	case *types.Map:
		return p.plain(u.Elem(), pointers, text)
	case *types.Pointer:
		return pointers > 0 && p.plain(u.Elem(), pointers-1, text)
	}
	return false
}

// foreignSecret tells the secret types of other modules; what they are made of is theirs.
func foreignSecret(t types.Type) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && !own(named) && secretType.MatchString(named.Obj().Name())
}

// ownSecret tells the secret types of this module that are bytes as such; others are looked into.
func ownSecret(t types.Type) bool {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || !own(named) || !secretType.MatchString(named.Obj().Name()) {
		return false
	}
	_, made := named.Underlying().(*types.Struct)
	return !made
}

func own(named *types.Named) bool {
	pkg := named.Obj().Pkg()
	return pkg != nil && (pkg.Path() == module || strings.HasPrefix(pkg.Path(), module+"/"))
}

func isByte(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Kind() == types.Uint8
}

func (p *printer) report(path string) {
	*p.found = append(*p.found, fmt.Sprintf("%s by %s", path, p.how))
}
