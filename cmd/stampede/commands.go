package main

import (
	"context"
	"fmt"

	"stampede/cluster"
	"stampede/events/broker"
	"stampede/events/inbound"
)

// startCommands takes commands from Kafka, if --kafka-commands says so.
func (n *node) startCommands(caller cluster.Caller) error {
	if !n.config.KafkaCommands {
		return nil
	}
	config := inbound.Config{
		Brokers: n.config.Kafka, ClientID: "stampede", Replication: n.config.KafkaReplication, Caller: caller, Registerer: n.registry, Logger: n.log,
	}
	if len(config.Brokers) == 0 {
		config.Brokers, config.TopicConfig = []string{n.kafka}, broker.TopicConfig()
	}
	commands, err := inbound.New(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := commands.Run(ctx)
		if err != nil {
			n.fail(fmt.Errorf("commands from Kafka: %w", err))
		}
		ended <- err
	}()
	n.onClose("commands from Kafka", closeReadersFor, func(closing context.Context) error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-closing.Done():
			return closing.Err() // what is not committed is taken again
		}
	})
	return nil
}
