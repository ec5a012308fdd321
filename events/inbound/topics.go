package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// Partitions is how many partitions the topics are created with.
const Partitions = 12

const (
	topicsTimeout = 15 * time.Second
	topicsPoll    = 50 * time.Millisecond
)

// prepareTopics makes the topics that are absent and complains of those that
// can lose commands. It tries until the brokers answer or ctx ends.
func (c *Consumer) prepareTopics(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		try, cancel := context.WithTimeout(ctx, topicsTimeout)
		err := c.topics(try)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt == 0 {
			c.logger.Warn("the topics of commands cannot be prepared and are tried again until they are", slog.Any("error", err))
		}
		if err := pause(ctx, c.backoff(attempt)); err != nil {
			return err
		}
	}
}

func (c *Consumer) topics(ctx context.Context) error {
	names := []string{TopicCommands, TopicDead}
	found, err := c.found(ctx, names)
	if err != nil {
		return err
	}
	req := &kafka.CreateTopicsRequest{}
	for _, name := range names {
		if !found[name] {
			req.Topics = append(req.Topics, kafka.TopicConfig{Topic: name, NumPartitions: Partitions, ReplicationFactor: max(c.cfg.Replication, 1), ConfigEntries: c.settings()})
		}
	}
	if len(req.Topics) > 0 {
		res, err := c.client.CreateTopics(ctx, req)
		if err != nil {
			return fmt.Errorf("create topics: %w", err)
		}
		for name, err := range res.Errors {
			if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
				return fmt.Errorf("create topic %s: %w", name, err)
			}
		}
	}
	c.complain(ctx, names)
	for len(found) < len(names) {
		if found, err = c.found(ctx, names); err != nil {
			return err
		}
		if err := pause(ctx, topicsPoll); err != nil {
			return fmt.Errorf("wait for topics to appear: %w", err)
		}
	}
	return nil
}

// found is which of the topics exist and have a leader.
func (c *Consumer) found(ctx context.Context, names []string) (map[string]bool, error) {
	meta, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("ask for topics: %w", err)
	}
	out := map[string]bool{}
	for _, t := range meta.Topics {
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition), errors.Is(t.Error, kafka.LeaderNotAvailable):
		case t.Error != nil:
			return nil, fmt.Errorf("topic %s: %w", t.Name, t.Error)
		case len(t.Partitions) > 0:
			out[t.Name] = true
		}
	}
	return out, nil
}

func (c *Consumer) settings() []kafka.ConfigEntry {
	entries := []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "delete"}}
	for name, value := range c.cfg.TopicConfig {
		entries = append(entries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	slices.SortFunc(entries[1:], func(a, b kafka.ConfigEntry) int {
		if a.ConfigName < b.ConfigName {
			return -1
		}
		return 1
	})
	return entries
}

// complain says which topics can lose commands: a compacted one forgets all of
// a SKU's but the last.
func (c *Consumer) complain(ctx context.Context, names []string) {
	req := &kafka.DescribeConfigsRequest{}
	for _, name := range names {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: name, ConfigNames: []string{"cleanup.policy"},
		})
	}
	res, err := c.client.DescribeConfigs(ctx, req)
	if err != nil {
		c.logger.Warn("the topics' settings cannot be checked", slog.Any("error", err))
		return
	}
	faults := 0
	for _, r := range res.Resources {
		for _, e := range r.ConfigEntries {
			if e.ConfigName == "cleanup.policy" && e.ConfigValue != "delete" {
				faults++
				c.logger.Error("a topic of commands can lose some: its clean-up policy must be delete", slog.String("topic", r.ResourceName), slog.String("policy", e.ConfigValue))
			}
		}
	}
	c.metrics.topicFaults.Set(float64(faults))
}
