//go:build !linux

// Netns has two people talk across two network namespaces, which only Linux has.
package main

import "fmt"

func main() { fmt.Println("netns: skipped: needs Linux") }
