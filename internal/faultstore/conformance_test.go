package faultstore_test

import (
	"bytes"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/internal/faultstore"
	"stampede/persistence"
	"stampede/persistence/conformance"
)

// TestConformance: without faults it is a store like any other.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Open: func(*testing.T) persistence.Store { return faultstore.New(1, faultstore.Faults{}) },
		Tamper: func(t *testing.T, s persistence.Store) conformance.Tamper {
			disk := s.(*faultstore.Store).Truth()
			must := func(there bool) {
				if !there {
					t.Fatal("there is nothing to tamper with")
				}
			}
			return conformance.Tamper{
				CorruptRecord: func(stream string, seq uint64) {
					must(disk.Tamper(stream, seq, func(r *entity.Record) { r.Events = append(bytes.Clone(r.Events), '!') }))
				},
				DeleteRecord: func(stream string, seq uint64) { must(disk.Lose(stream, seq)) },
				CorruptSnapshot: func(stream string) {
					must(disk.TamperSnapshot(stream, func(s *entity.Snapshot) { s.State = append(bytes.Clone(s.State), '!') }))
				},
			}
		},
		Crash: func(*testing.T) conformance.Crash {
			return &process{faultstore.New(1, faultstore.Faults{AppendTime: 200 * time.Microsecond, LateTime: time.Millisecond})}
		},
	})
}

// process is one that can be killed, also with writes under way, some of which
// land later.
type process struct{ *faultstore.Store }

func (p *process) Kill() {
	p.Store.Kill()
	for p.InTheAir() > 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // what lands late does so by the real clock
	}
}

func (p *process) Restart() conformance.Restarted {
	p.Store = p.Connect()
	return p.Store
}
