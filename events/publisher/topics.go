package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/events/cloudevents"
)

const topicsPoll = 50 * time.Millisecond

// prepareTopics makes the topics that are absent, complains of those that
// break what consumers are promised, and lays out the partitions. It tries
// until the brokers answer or ctx ends.
func (p *Publisher) prepareTopics(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		try, cancel := context.WithTimeout(ctx, topicsTimeout)
		found, err := p.link.topics(try)
		cancel()
		if err == nil {
			p.metrics.topicFaults.Set(float64(len(found.faults)))
			for _, fault := range found.faults {
				p.logger.Error("a topic breaks what consumers are promised", slog.String("fault", fault))
			}
			p.layOut(found.partitions)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("publisher: prepare topics: %w", ctx.Err())
		}
		if attempt == 0 {
			p.logger.Warn("the topics cannot be prepared and are tried again until they are; nothing is lost meanwhile", slog.Any("error", err))
		}
		if err := pause(ctx, p.backoff(attempt)); err != nil {
			return fmt.Errorf("publisher: prepare topics: %w", err)
		}
	}
}

func (p *Publisher) layOut(partitions map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, spec := range cloudevents.Topics() {
		t := &topic{compacted: spec.Compacted}
		for id := range partitions[spec.Name] {
			part := &partition{topic: spec.Name, id: id, batchBytes: p.cfg.Limits.BatchBytes, queue: &fifo{}}
			if spec.Compacted {
				part.queue = newLatest(p.cfg.Limits.LevelInterval)
			}
			t.parts = append(t.parts, part)
			t.ids = append(t.ids, id)
			p.parts = append(p.parts, part)
		}
		p.topics[spec.Name] = t
	}
}

// topics makes the topics that are absent, waits until all are there, and
// looks at the settings of those that were there before.
func (l *kafkaLink) topics(ctx context.Context) (topicsFound, error) {
	found, err := l.partitions(ctx)
	if err != nil {
		return topicsFound{}, err
	}
	var made []string
	var missing []cloudevents.Topic
	var existing []string
	for _, t := range cloudevents.Topics() {
		if found[t.Name] == 0 {
			missing = append(missing, t)
			made = append(made, t.Name)
		} else {
			existing = append(existing, t.Name)
		}
	}
	if err := l.create(ctx, missing); err != nil {
		return topicsFound{}, err
	}
	faults := tooFew(found)
	if len(existing) > 0 {
		policies, err := l.cleanupPolicies(ctx, existing)
		if err != nil {
			faults = append(faults, fmt.Sprintf("clean-up policies cannot be checked: %v", err))
		}
		faults = append(faults, wrongPolicies(policies)...)
	}
	for {
		found, err := l.partitions(ctx)
		if err != nil {
			return topicsFound{}, err
		}
		if len(found) == len(l.names) {
			return topicsFound{found, made, faults}, nil
		}
		if err := pause(ctx, topicsPoll); err != nil {
			return topicsFound{}, fmt.Errorf("wait for topics to appear, %d of %d have: %w", len(found), len(l.names), err)
		}
	}
}

// partitions is how many partitions each topic has that exists.
func (l *kafkaLink) partitions(ctx context.Context) (map[string]int, error) {
	meta, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: l.names})
	if err != nil {
		return nil, err
	}
	out := make(map[string]int)
	for _, t := range meta.Topics {
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
		case t.Error != nil && !errors.Is(t.Error, kafka.LeaderNotAvailable):
			return nil, fmt.Errorf("topic %s: %w", t.Name, t.Error)
		case len(t.Partitions) > 0:
			out[t.Name] = len(t.Partitions)
		}
	}
	return out, nil
}

func (l *kafkaLink) create(ctx context.Context, topics []cloudevents.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		req.Topics = append(req.Topics, kafka.TopicConfig{
			Topic: t.Name, NumPartitions: Partitions, ReplicationFactor: replication(l.cfg.Replication), ConfigEntries: l.settings(t),
		})
	}
	res, err := l.client.CreateTopics(ctx, req)
	if err != nil {
		return err
	}
	var errs []error
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("create topic %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// replication turns "the brokers' default" into what the protocol calls it.
func replication(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (l *kafkaLink) settings(t cloudevents.Topic) []kafka.ConfigEntry {
	entries := []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: policy(t)}}
	names := make([]string, 0, len(l.cfg.TopicConfig))
	for name := range l.cfg.TopicConfig {
		// A compacted topic keeps one value a key for ever.
		if !t.Compacted || !strings.HasPrefix(name, "retention.") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		entries = append(entries, kafka.ConfigEntry{ConfigName: name, ConfigValue: l.cfg.TopicConfig[name]})
	}
	return entries
}

func policy(t cloudevents.Topic) string {
	if t.Compacted {
		return "compact"
	}
	return "delete"
}

func tooFew(partitions map[string]int) []string {
	var faults []string
	for _, t := range cloudevents.Topics() {
		if n := partitions[t.Name]; n > 0 && n < Partitions {
			faults = append(faults, fmt.Sprintf("%s has %d partitions, fewer than %d: add some while nothing publishes, since keys move", t.Name, n, Partitions))
		}
	}
	return faults
}

func (l *kafkaLink) cleanupPolicies(ctx context.Context, names []string) (map[string]string, error) {
	req := &kafka.DescribeConfigsRequest{}
	for _, name := range names {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: name, ConfigNames: []string{"cleanup.policy"},
		})
	}
	res, err := l.client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for _, r := range res.Resources {
		if r.Error != nil {
			return out, fmt.Errorf("topic %s: %w", r.ResourceName, r.Error)
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigName == "cleanup.policy" {
				out[r.ResourceName] = e.ConfigValue
			}
		}
	}
	return out, nil
}

func wrongPolicies(policies map[string]string) []string {
	var faults []string
	for _, t := range cloudevents.Topics() {
		got, ok := policies[t.Name]
		if !ok || got == policy(t) {
			continue
		}
		harm := "events are lost that a later one of their key follows"
		if t.Compacted {
			harm = "levels of SKUs that do not move are lost"
		}
		faults = append(faults, fmt.Sprintf("%s has cleanup.policy=%s, want %s: %s", t.Name, got, policy(t), harm))
	}
	return faults
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
