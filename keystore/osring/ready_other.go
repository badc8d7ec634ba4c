//go:build !linux

package osring

import "context"

// ready cannot ask here without reading an item; the first call tells.
func ready(ctx context.Context) error { return ctx.Err() }
