package members

// The changes that a table goes through, as pure functions of its contents.

import "slices"

// Join is the change by which a member begins: Joining, with a lease.
func (c *Contents) Join(m Member) *Change {
	m.State = Joining
	return &Change{From: c.Version, View: c.View + 1, Rows: append(slices.Clone(c.Rows), Row{Member: m}), Begin: m.ID}
}

// Move is the change that takes a member to a later state, with its lease.
func (c *Contents) Move(id string, to State) *Change {
	return c.edit(id, func(r *Row) bool {
		if r.Member.State >= to {
			return false
		}
		r.Member.State = to
		return true
	})
}

// AskToDrain is the change by which a member is asked to drain.
func (c *Contents) AskToDrain(id string) *Change {
	ch := c.edit(id, func(r *Row) bool {
		asked := r.DrainAsked
		r.DrainAsked = true
		return !asked
	})
	if ch != nil {
		ch.View = c.View
	}
	return ch
}

// End is the change by which a member's lease ends, and its state becomes to:
// the same, or Down. It is made only if the lease has not been renewed since.
func (c *Contents) End(id, why string, to State) *Change {
	ch := c.edit(id, func(r *Row) bool {
		r.Ended = why
		if to == Down {
			r.Member.State, r.DownIn, r.Suspicions = Down, c.Version+1, nil
		}
		return true
	})
	if ch == nil {
		return nil
	}
	if to != Down {
		ch.View = c.View
	}
	if l := c.Lease(id); l != nil {
		held := *l
		ch.End = &held
	}
	if to == Down {
		ch.Rows = forgetOldest(withoutSuspicionsBy(id, ch.Rows))
	}
	return ch
}

// edit is the change that do makes of a row; nil if there is no such row, or
// do reports that there is nothing to change.
func (c *Contents) edit(id string, do func(*Row) bool) *Change {
	rows := slices.Clone(c.Rows)
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Member.ID == id })
	if i < 0 || !rows[i].Member.Alive() || !do(&rows[i]) {
		return nil
	}
	return &Change{From: c.Version, View: c.View + 1, Rows: rows}
}

// forgetOldest drops the rows that are Down longest, over MaxDown.
func forgetOldest(rows []Row) []Row {
	var down []uint64
	for i := range rows {
		if !rows[i].Member.Alive() {
			down = append(down, rows[i].DownIn)
		}
	}
	if len(down) <= MaxDown {
		return rows
	}
	slices.Sort(down)
	oldest := down[len(down)-MaxDown]
	return slices.DeleteFunc(rows, func(r Row) bool { return !r.Member.Alive() && r.DownIn < oldest })
}

func withoutSuspicionsBy(id string, rows []Row) []Row {
	for i := range rows {
		rows[i].Suspicions = slices.DeleteFunc(slices.Clone(rows[i].Suspicions), func(s Suspicion) bool { return s.By == id })
	}
	return rows
}
