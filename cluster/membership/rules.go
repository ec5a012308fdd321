package membership

// The rules: what a member concludes from what it has seen, and when. No IO,
// no lock, no clock: moments are passed in, as readings of one monotonic clock.

import (
	"fmt"
	"slices"
	"time"

	"stampede/cluster/members"
)

// action is what a change is for.
type action string

const (
	evict   action = "evict"
	revoke  action = "revoke"
	suspect action = "suspect"
)

// moment is a reading of this process's monotonic clock. Those of different
// members are never compared.
type moment = time.Duration

// sighting is when a lease was last seen to change: to be renewed, or to end.
type sighting struct {
	beat  uint64
	at    moment
	ended bool
}

// evidence is what this member found out about another by itself.
type evidence struct {
	finding members.Finding
	// since is when probes began to find this, at when the last one did.
	since, at moment
	// beat is the lease's, as it was known when the last probe began: who has
	// renewed since was not gone.
	beat uint64
}

// observer is one member's knowledge of the others. It is not safe for
// concurrent use.
type observer struct {
	self      string
	lease     time.Duration
	contents  members.Contents
	sightings map[string]sighting
	evidence  map[string]evidence
}

func newObserver(self string, lease time.Duration) *observer {
	return &observer{self: self, lease: lease, sightings: map[string]sighting{}, evidence: map[string]evidence{}}
}

// lapse is how long a lease must be seen unchanged to have ended by its holder's
// reckoning too: its length, and a tenth for clocks that do not go alike.
func (o *observer) lapse() time.Duration { return o.lease + o.lease/10 }

// overdue is how long after its last change a lease should have changed again.
func (o *observer) overdue() time.Duration { return o.lease / 2 }

// reprobe is how long a finding is taken for granted.
func (o *observer) reprobe() time.Duration { return o.lease / 6 }

// learn takes in a table that has been read before now. Answers may come in
// another order than they were asked for, so older ones say nothing.
func (o *observer) learn(c members.Contents, now moment) (changed bool) {
	if c.Version < o.contents.Version {
		return false
	}
	changed = c.Version > o.contents.Version
	for _, l := range c.Leases {
		if s, known := o.sightings[l.ID]; !known || l.Beat > s.beat {
			o.sightings[l.ID] = sighting{beat: l.Beat, at: now}
		}
	}
	if !changed {
		for i, l := range c.Leases {
			if old := o.contents.Lease(l.ID); old != nil && old.Beat > l.Beat {
				c.Leases[i] = *old
			}
		}
	}
	o.contents = c
	for i := range c.Rows {
		// It may have been renewed, unseen, just before it ended.
		r := &c.Rows[i]
		s := o.sightings[r.Member.ID]
		if r.Member.Alive() && !s.ended && c.Lease(r.Member.ID) == nil {
			o.sightings[r.Member.ID] = sighting{beat: s.beat, at: now, ended: true}
		}
	}
	for id := range o.sightings {
		if r := c.Row(id); r == nil || !r.Member.Alive() {
			delete(o.sightings, id)
			delete(o.evidence, id)
		}
	}
	return changed
}

// resume forgets how long others did not renew: this member could not reach the
// table itself, so perhaps nobody could.
func (o *observer) resume(now moment) {
	for id, s := range o.sightings {
		s.at = now
		o.sightings[id] = s
	}
}

// found takes in what a probe found that began when the lease was at beat.
// Probes that answer are remembered too, so that they are not repeated at once.
func (o *observer) found(id string, f members.Finding, beat uint64, now moment) {
	if _, known := o.sightings[id]; !known {
		return
	}
	e, known := o.evidence[id]
	if !known || e.finding != f {
		e = evidence{finding: f, since: now}
	}
	e.at, e.beat = now, beat
	o.evidence[id] = e
}

// gone reports that the process was found to have ended, and has not been heard of since.
func (o *observer) gone(id string) bool {
	e, known := o.evidence[id]
	return known && e.finding == members.Gone && e.beat == o.sightings[id].beat
}

// suspicion is this member's word about another. It does not call one
// unreachable that may only be slow: not before it could have lost its lease.
func (o *observer) suspicion(id string, now moment) members.Finding {
	if o.gone(id) {
		return members.Gone
	}
	if e := o.evidence[id]; e.finding != members.Answers && now-e.since >= o.lease {
		return members.Unreachable
	}
	return members.Answers
}

// toProbe lists the members that this one should look at now: those whose lease
// is overdue, whom others suspect, or of whom what is known is old.
func (o *observer) toProbe(now moment) []string {
	var ids []string
	for i := range o.contents.Rows {
		r := &o.contents.Rows[i]
		id := r.Member.ID
		if id == o.self || !r.Member.Alive() {
			continue
		}
		e, known := o.evidence[id]
		doubt := e.finding != members.Answers || len(r.Suspicions) > 0 || now-o.sightings[id].at >= o.overdue()
		old := !known || now-e.at >= o.reprobe() || e.finding == members.Gone && !o.gone(id)
		if doubt && old {
			ids = append(ids, id)
		}
	}
	return ids
}

// urgent reports that this member has just found another one gone, and others
// are about to.
func (o *observer) urgent(now moment) bool {
	for id, e := range o.evidence {
		if o.gone(id) && now-e.since < o.overdue() {
			return true
		}
	}
	return false
}

// next is the change of others' rows that this member should make now, or nil,
// and what it is for. The caller has checked that its own lease holds.
func (o *observer) next(now moment) (*members.Change, action) {
	for i := range o.contents.Rows {
		r := &o.contents.Rows[i]
		if r.Member.ID == o.self || !r.Member.Alive() {
			continue
		}
		if why := o.dead(r, now); why != "" {
			return o.contents.End(r.Member.ID, why, members.Down), evict
		}
	}
	for i := range o.contents.Rows {
		r := &o.contents.Rows[i]
		if r.Member.ID == o.self || !r.Member.Alive() {
			continue
		}
		if why := o.cutOff(r, now); why != "" {
			return o.contents.End(r.Member.ID, why, r.Member.State), revoke
		}
	}
	return o.speak(now), suspect
}

// dead says why the member may be Down now, or nothing. It may when it surely
// does not act as a member any more: its lease has run out by its own reckoning,
// or its process has ended.
func (o *observer) dead(r *members.Row, now moment) string {
	id := r.Member.ID
	if unseen := now - o.sightings[id].at; unseen >= o.lapse() {
		if r.Ended != "" {
			return r.Ended
		}
		return fmt.Sprintf("its lease was not renewed for %s", unseen.Round(time.Millisecond))
	}
	if o.replaced(r) {
		return "its address is another process's now"
	}
	if !o.gone(id) {
		return ""
	}
	if by := o.otherSuspects(r, members.Gone); by != "" {
		return "its process has ended, as this member and " + by + " found"
	}
	if !o.hasWitness(id, now) {
		return "its process has ended, as the only member that could look found"
	}
	return ""
}

// cutOff says why a member that renews should not be allowed to any more, or
// nothing: two others cannot reach it. One at a time, so that those who are cut
// off from each other do not all end.
func (o *observer) cutOff(r *members.Row, now moment) string {
	id := r.Member.ID
	if o.contents.Lease(id) == nil || o.suspicion(id, now) == members.Answers {
		return ""
	}
	for i := range o.contents.Rows {
		if other := &o.contents.Rows[i]; other.Member.Alive() && o.contents.Lease(other.Member.ID) == nil {
			return ""
		}
	}
	if by := o.otherSuspects(r, members.Unreachable); by != "" {
		return "it was unreachable for " + o.self + " and " + by
	}
	return ""
}

// replaced reports that this member has the address that the other one joined with.
func (o *observer) replaced(r *members.Row) bool {
	own := o.contents.Row(o.self)
	if own == nil || own.Member.Address != r.Member.Address {
		return false
	}
	for i := range o.contents.Rows {
		switch o.contents.Rows[i].Member.ID {
		case r.Member.ID:
			return true // it joined before this one
		case o.self:
			return false
		}
	}
	return false
}

// otherSuspects names another member, itself beyond doubt, that suspects this
// one at least so much; or nobody.
func (o *observer) otherSuspects(r *members.Row, how members.Finding) string {
	for _, s := range r.Suspicions {
		if s.By != o.self && s.How >= how && o.contents.Lease(s.By) != nil {
			return s.By
		}
	}
	return ""
}

// hasWitness reports whether somebody else could confirm that the member is
// gone. Those cannot who are gone as well and late with their lease.
func (o *observer) hasWitness(id string, now moment) bool {
	for _, l := range o.contents.Leases {
		if l.ID == o.self || l.ID == id {
			continue
		}
		if !o.gone(l.ID) || now-o.sightings[l.ID].at < o.overdue() {
			return true
		}
	}
	return false
}

// speak is the change that puts this member's suspicions into the table as
// they are now, or nil.
func (o *observer) speak(now moment) *members.Change {
	rows := slices.Clone(o.contents.Rows)
	changed := false
	for i := range rows {
		r := &rows[i]
		if r.Member.ID == o.self || !r.Member.Alive() {
			continue
		}
		at := slices.IndexFunc(r.Suspicions, func(s members.Suspicion) bool { return s.By == o.self })
		said := members.Answers
		if at >= 0 {
			said = r.Suspicions[at].How
		}
		is := o.suspicion(r.Member.ID, now)
		if is == said {
			continue
		}
		changed = true
		r.Suspicions = slices.DeleteFunc(slices.Clone(r.Suspicions), func(s members.Suspicion) bool { return s.By == o.self })
		if is != members.Answers {
			r.Suspicions = append(r.Suspicions, members.Suspicion{By: o.self, How: is})
		}
	}
	if !changed {
		return nil
	}
	return &members.Change{From: o.contents.Version, View: o.contents.View, Rows: rows}
}

// settled is the newest version of the view that every member acts on, or a
// later one.
func (o *observer) settled() uint64 {
	oldest := o.contents.View
	for i := range o.contents.Rows {
		r := &o.contents.Rows[i]
		if !r.Member.Alive() {
			continue
		}
		l := o.contents.Lease(r.Member.ID)
		if l == nil {
			return 0 // what it acts on is not known, until it is Down
		}
		oldest = min(oldest, l.Seen)
	}
	return oldest
}
