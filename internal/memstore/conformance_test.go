package memstore_test

import (
	"bytes"
	"testing"

	"stampede/actors/entity"
	"stampede/internal/memstore"
	"stampede/persistence"
	"stampede/persistence/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Open: func(*testing.T) persistence.Store { return memstore.New() },
		Tamper: func(t *testing.T, s persistence.Store) conformance.Tamper {
			disk := s.(*memstore.Store).Disk()
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
			disk := memstore.NewDisk()
			return &process{disk: disk, Store: disk.Open()}
		},
	})
}

// process is one that can be killed: what survives it is the disk.
type process struct {
	disk *memstore.Disk
	*memstore.Store
}

func (p *process) Kill() { _ = p.Store.Close() } // never fails

func (p *process) Restart() conformance.Restarted {
	p.Store = p.disk.Open()
	return p.Store
}
