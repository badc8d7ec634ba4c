package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestScene(t *testing.T) {
	sc, err := parseScene(sceneText)
	if err != nil {
		t.Fatal(err)
	}
	for who := range headings {
		verbs := map[verb]bool{}
		for _, a := range sc.parts[who] {
			verbs[a.verb] = true
		}
		for _, v := range []verb{typeLine, deleteLine, moveLine, typeAfter} {
			if !verbs[v] {
				t.Errorf("%s never does %q", who, v)
			}
		}
	}
	typed := ""
	for _, a := range sc.opening {
		typed += a.text + "\n"
	}
	for who, heading := range headings {
		if !strings.Contains(typed, heading+"\n") {
			t.Errorf("the opening lacks the heading of %s", who)
		}
	}
	for _, bad := range []string{"nobody", "ada^ only one part", "> no name"} {
		if _, err := parseScene(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestKeys(t *testing.T) {
	for line, want := range map[string]string{
		"plain":         "plain",
		"a {bd|b} c":    "a bd\b\bb c",
		"{été|hiver}":   "été\b\b\bhiver",
		"{x|y}{z|}":     "x\byz\b",
		"unclosed {a|b": "unclosed a\bb",
	} {
		if got := string(keys(line)); got != want {
			t.Errorf("keys(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestLoadRecording(t *testing.T) {
	write := func(text string) string {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		if _, err := zw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "trace.json.gz")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rec, err := loadRecording(write(`{"name":"x","endSha256":"00","patches":[[0,0,"ab"],[1,1,""]]}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := []patch{{0, 0, "ab"}, {1, 1, ""}}; len(rec.Patches) != 2 || rec.Patches[0] != want[0] || rec.Patches[1] != want[1] {
		t.Errorf("read %+v, want %+v", rec.Patches, want)
	}
	for _, bad := range []string{`{}`, `{"endSha256":"00"}`, `{"endSha256":"00","patches":[["x"]]}`, `no JSON`} {
		if _, err := loadRecording(write(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if _, err := loadRecording(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was taken")
	}
}
