package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Where quietPorts looks: below the range that systems give to outgoing
// connections.
const (
	lowestQuietPort  = 20_000
	highestQuietPort = 32_000
	portTries        = 200
)

// quietPorts finds n loopback ports that are free now and will still be after a
// restart. A port that the system picks (port 0) lies where it also takes the
// ports of outgoing connections from: while the server is down, a shopper that
// calls in vain could be sitting on it.
func quietPorts(ctx context.Context, n int) ([]string, error) {
	var lc net.ListenConfig
	var ports []string
	for range portTries {
		if len(ports) == n {
			return ports, nil
		}
		port := strconv.Itoa(lowestQuietPort + rand.IntN(highestQuietPort-lowestQuietPort))
		listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		defer listener.Close() // held until all are found, so that they differ
		ports = append(ports, port)
	}
	return nil, errors.New("no free port on the loopback address")
}
