// Package inbound takes commands from Kafka: stock adjustments that a warehouse
// system sends as CloudEvents. Each is given to the SKU's actor as the API gives
// it, under an idempotency key that is made of the event's source and id, so
// that a command which comes again has no further effect. An offset is committed
// when the effect of everything before it is durable, or its refusal is in the
// dead-letter topic.
package inbound

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// The types of commands, in ce_type.
const (
	AdjustStock     = "stampede.AdjustStock"
	SetStock        = "stampede.SetStock"
	MarkUnavailable = "stampede.MarkUnavailable"
)

// Bounds of a message.
const (
	MaxValueBytes     = 64 << 10
	maxAttributeBytes = 255
	maxSKUBytes       = 64
)

// Reasons of dead letters that no actor gave.
const (
	// reasonMalformed: it is no CloudEvent in binary mode with JSON data that has the fields of its type.
	reasonMalformed = "MALFORMED"
	// reasonFault: the SKU cannot be asked at all, and waiting does not help; the log says why.
	reasonFault = "INTERNAL"
)

// command is what a message asks for.
type command struct {
	kind  string // ce_type
	sku   string
	cmd   proto.Message
	trace string
}

// rejection is why a message is no command that can be done.
type rejection struct {
	reason, message string
	field           []string
}

func malformed(message string, field ...string) *rejection {
	return &rejection{reason: reasonMalformed, message: message, field: field}
}

// parse reads a message as a CloudEvent in Kafka's binary mode.
func parse(m *kafka.Message) (command, *rejection) {
	h := headers(m.Headers)
	id, source, kind := h["ce_id"], h["ce_source"], h["ce_type"]
	c := command{kind: kind}
	for _, a := range []struct{ name, value string }{{"ce_id", id}, {"ce_source", source}, {"ce_type", kind}} {
		if a.value == "" || len(a.value) > maxAttributeBytes || !utf8.ValidString(a.value) || strings.ContainsFunc(a.value, unicode.IsControl) {
			return c, malformed("must be 1 to 255 bytes of text", a.name)
		}
	}
	if h["ce_specversion"] != "1.0" {
		return c, malformed("must be 1.0, in a header: events are taken in Kafka's binary mode", "ce_specversion")
	}
	if media := h["content-type"]; media != "" {
		if media, _, err := mime.ParseMediaType(media); err != nil || media != "application/json" {
			return c, malformed("must be application/json", "content-type")
		}
	}
	if len(m.Value) > MaxValueBytes {
		return c, malformed("must be at most 64 KiB")
	}
	c.trace = h["traceparent"]
	sum := sha256.Sum256([]byte(source + "\x00" + id))
	key, by := "ce-"+hex.EncodeToString(sum[:]), &commonpb.Actor{UserId: "kafka:" + source, Staff: true}
	var bad *rejection
	switch kind {
	case AdjustStock:
		var data adjustData
		if bad = decode(m.Value, &data); bad == nil {
			c.sku, c.cmd = data.SKU, &skupb.Adjust{IdempotencyKey: key, Delta: data.Delta, Reason: data.Reason, Actor: by, IfVersion: data.IfVersion}
		}
	case SetStock:
		var data setData
		if bad = decode(m.Value, &data); bad == nil {
			if data.OnHand == nil {
				return c, malformed("must be given", "onHand")
			}
			c.sku = data.SKU
			c.cmd = &skupb.SetOnHand{IdempotencyKey: key, OnHand: *data.OnHand, Reason: data.Reason, Actor: by, IfVersion: data.IfVersion, AllowShortfall: data.AllowShortfall}
		}
	case MarkUnavailable:
		var data markData
		if bad = decode(m.Value, &data); bad == nil {
			c.sku, c.cmd = data.SKU, &skupb.MarkUnavailable{IdempotencyKey: key, Quantity: data.Quantity, Reason: data.Reason, Actor: by}
		}
	default:
		return c, malformed("must be "+AdjustStock+", "+SetStock+" or "+MarkUnavailable, "ce_type")
	}
	if bad != nil {
		return c, bad
	}
	if !isSKU(c.sku) {
		return c, malformed("must be a SKU: 1 to 64 letters, digits, hyphens and underscores", "sku")
	}
	if why := c.cmd.(interface{ GetReason() string }).GetReason(); strings.TrimSpace(why) == "" || strings.ContainsFunc(why, unicode.IsControl) {
		return c, malformed("must say why, without control characters", "reason")
	}
	return c, nil
}

// The data of each type. A field that is not here is refused, not ignored: the
// sender meant something by it.
type adjustData struct {
	SKU       string `json:"sku"`
	Delta     int64  `json:"delta"`
	Reason    string `json:"reason"`
	IfVersion int64  `json:"ifVersion"`
}

type setData struct {
	SKU            string `json:"sku"`
	OnHand         *int64 `json:"onHand"` // 0 is a count, nothing is none
	Reason         string `json:"reason"`
	IfVersion      int64  `json:"ifVersion"`
	AllowShortfall bool   `json:"allowShortfall"`
}

type markData struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	Reason   string `json:"reason"`
}

func decode(value []byte, into any) *rejection {
	if !utf8.Valid(value) {
		return malformed("the data must be UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return malformed("must be a "+wrong.Type.String(), wrong.Field)
		}
		return malformed("the data must be one JSON object with the fields of its type: " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("the data must be one JSON object and nothing after it")
	}
	return nil
}

// headers are those of the message, the last of each name.
func headers(list []kafka.Header) map[string]string {
	out := make(map[string]string, len(list))
	for _, h := range list {
		out[strings.ToLower(h.Key)] = string(h.Value)
	}
	return out
}

func isSKU(s string) bool {
	return s != "" && len(s) <= maxSKUBytes && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}
