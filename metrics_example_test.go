package collab_test

import (
	"context"
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/studio-whip/collab"
)

// Two nodes of one process report to one registerer, told apart by a label.
func ExampleWithMetrics() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"studio", "archive"} {
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"node": name}, registry)
		node, err := collab.Open(context.Background(), collab.WithMemory(), collab.WithListen(loopback...), collab.WithMetrics(labelled))
		if err != nil {
			log.Fatal(err)
		}
		defer node.Close()
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "collab_sessions" {
			fmt.Println(f.GetName(), "of", len(f.GetMetric()), "nodes:", f.GetHelp())
		}
	}
	// Output: collab_sessions of 2 nodes: Projects that are open.
}
