package members

// This file is who owns which actor: rendezvous hashing (Thaler and
// Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998). Every
// member has a weight for every address, and the heaviest owns it. So a member
// that comes or goes moves its own share and nothing else, and all who have the
// same view agree without a word.

import "stampede/actors/entity"

// Owners tells who owns an address by one view. It does not change.
type Owners struct {
	members []*Member
	seeds   []uint64
}

// Owners reckons the view's owners: those that are up. Where nobody is, those
// that drain keep what there is, for they have nobody to hand it over to.
func (v *View) Owners() *Owners {
	o := v.owners((*Member).Owns)
	if len(o.members) == 0 {
		o = v.owners(func(m *Member) bool { return m.State == Draining && m.Is(Actors) })
	}
	return o
}

func (v *View) owners(who func(*Member) bool) *Owners {
	o := &Owners{}
	for i := range v.Members {
		if m := &v.Members[i]; who(m) {
			o.members = append(o.members, m)
			o.seeds = append(o.seeds, Hash(m.ID, ""))
		}
	}
	return o
}

// Has reports whether the member owns anything.
func (o *Owners) Has(id string) bool {
	for _, m := range o.members {
		if m.ID == id {
			return true
		}
	}
	return false
}

// Of returns the member that owns the address, or nil if no member owns any.
func (o *Owners) Of(addr entity.Address) *Member { return o.OfHash(Hash(addr.Kind, addr.ID)) }

// OfHash is Of for an address that was hashed already.
func (o *Owners) OfHash(hash uint64) *Member {
	var owner *Member
	most := uint64(0)
	for i, seed := range o.seeds {
		// Of two equal weights the first member's counts: the view is sorted.
		if w := mix(seed ^ hash); owner == nil || w > most {
			owner, most = o.members[i], w
		}
	}
	return owner
}

// Hash is that of an address. It is the same in every process and every
// release, because members of different releases must agree.
func Hash(kind, id string) uint64 {
	// FNV-1a takes the bytes in; alone it is not fit for this: of similar
	// addresses the high bits, which decide, hardly differ.
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(kind) {
		h = (h ^ uint64(kind[i])) * prime
	}
	h = (h ^ '/') * prime
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit
// of the input changes every bit of the output with a probability of a half.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
