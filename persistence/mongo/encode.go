package mongo

// The insert command, written byte by byte (bsonspec.org). The driver's
// InsertMany marshals each document by reflection and reads its _id back
// through a buffer of its own, which was half of a node's work for a record;
// this is one buffer for a batch.

import (
	"encoding/binary"
	"strconv"
)

// Types of BSON elements.
const (
	bsonString   = 0x02
	bsonDocument = 0x03
	bsonArray    = 0x04
	bsonBinary   = 0x05
	bsonBoolean  = 0x08
	bsonInt64    = 0x12
)

// documentOverhead is more than a document needs beside its _id and events.
const documentOverhead = 192

// insertCommand is {insert, documents, ordered: false, writeConcern}.
func insertCommand(collection string, docs []*insertion) []byte {
	size := 256
	for _, d := range docs {
		size += len(d.doc.ID) + len(d.doc.Events) + documentOverhead
	}
	b := appendLength(make([]byte, 0, size))
	b = appendString(b, "insert", collection)
	b = appendKey(b, bsonArray, "documents")
	array := len(b)
	b = appendLength(b)
	for i, d := range docs {
		b = append(b, bsonDocument)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, 0)
		b = appendDocument(b, &d.doc)
	}
	b = closeDocument(b, array)
	b = append(appendKey(b, bsonBoolean, "ordered"), 0)
	b = appendKey(b, bsonDocument, "writeConcern")
	concern := len(b)
	b = appendLength(b)
	b = appendString(b, "w", "majority")
	b = append(appendKey(b, bsonBoolean, "j"), 1)
	b = closeDocument(b, concern)
	return closeDocument(b, 0)
}

// appendDocument is what bson.Marshal makes of d.
func appendDocument(b []byte, d *document) []byte {
	start := len(b)
	b = appendLength(b)
	b = appendString(b, "_id", d.ID)
	b = appendInt64(b, "first", d.FirstVersion)
	b = appendInt64(b, "last", d.LastVersion)
	b = appendInt64(b, "epoch", d.Epoch)
	b = appendInt64(b, "position", d.Position)
	b = appendInt64(b, "wakeAt", d.WakeAtMs)
	b = appendInt64(b, "checksum", d.Checksum)
	b = appendKey(b, bsonBinary, "events")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(d.Events))) //nolint:gosec // bounded by persistence.MaxRecordBytes
	b = append(b, 0)
	b = append(b, d.Events...)
	return closeDocument(b, start)
}

// appendLength leaves room for a document's length, which closeDocument fills in.
func appendLength(b []byte) []byte { return append(b, 0, 0, 0, 0) }

func closeDocument(b []byte, start int) []byte {
	b = append(b, 0)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start)) //nolint:gosec // bounded by maxInsertBytes
	return b
}

func appendKey(b []byte, kind byte, key string) []byte {
	return append(append(append(b, kind), key...), 0)
}

func appendString(b []byte, key, value string) []byte {
	b = appendKey(b, bsonString, key)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)+1)) //nolint:gosec // bounded by persistence.MaxStreamBytes
	return append(append(b, value...), 0)
}

func appendInt64(b []byte, key string, value int64) []byte {
	return binary.LittleEndian.AppendUint64(appendKey(b, bsonInt64, key), uint64(value)) //nolint:gosec // as bits
}
