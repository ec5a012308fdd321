package cloudevents

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/eventspb"
)

func (m *Mapper) mapAccount(dst []Message, rec *entity.Record, entries []entry) ([]Message, error) {
	stream := rec.Stream()
	room := m.room(stream, len(entries), usualDataBytes)
	for i, entry := range entries {
		var e accountpb.Event
		if err := proto.Unmarshal(entry.event, &e); err != nil {
			return dst, &entity.CorruptError{Stream: stream, Seq: rec.Seq, Reason: err.Error()}
		}
		data, private := accountData(rec.ID, &e)
		if private {
			continue
		}
		if data == nil {
			return dst, fmt.Errorf("version %d: %w", rec.FirstVersion+uint64(i), ErrUnmapped)
		}
		msg, err := m.message(room, event{
			topic: TopicAccounts, stream: stream, key: rec.ID, version: rec.FirstVersion + uint64(i), atMs: e.AtMs,
			trace: entry.trace, data: data,
		})
		if err != nil {
			return dst, err
		}
		dst = append(dst, msg)
	}
	return dst, nil
}

// accountData is the published form of an account's event: never an address, a
// name, a password or a token. What concerns sessions and passwords is private
// and stays inside. Neither: there is no published form.
func accountData(id string, e *accountpb.Event) (data proto.Message, private bool) {
	switch e := e.Event.(type) {
	case *accountpb.Event_Registered:
		return &eventspb.UserRegistered{UserId: id, Roles: roleNames(e.Registered.GetRoles())}, false
	case *accountpb.Event_ProfileUpdated:
		return &eventspb.ProfileUpdated{UserId: id}, false
	case *accountpb.Event_RolesChanged:
		return &eventspb.RolesChanged{UserId: id, Roles: roleNames(e.RolesChanged.GetRoles())}, false
	case *accountpb.Event_SessionStarted, *accountpb.Event_SessionRotated, *accountpb.Event_SessionEnded,
		*accountpb.Event_FamilyRevoked, *accountpb.Event_LogInFailed, *accountpb.Event_PasswordChanged,
		*accountpb.Event_OperatorCounted:
		return nil, true
	}
	return nil, false
}

func roleNames(roles []accountpb.Role) []string {
	out := make([]string, len(roles))
	for i, r := range roles {
		out[i] = strings.TrimPrefix(r.String(), "ROLE_")
	}
	return out
}
