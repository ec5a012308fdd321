// Updates. They are applied one after the other: one that comes while SKUs are
// being configured by the one before waits for that.
package product

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
)

// hashedID marks a command id that was made of the command's contents.
const hashedID = "#"

func update(s *State, u *productpb.Update, now time.Time, heard map[string]proto.Message) Decision {
	p := s.product
	if p == nil {
		return refuse(notFound())
	}
	if r := validateUpdate(u); r != nil {
		return refuse(r)
	}
	id := commandID(u)
	if version, ok := appliedAt(p, id); ok {
		if p.ConfiguredVersion > version {
			return s.takeBack(heard, shown(s))
		}
		return s.takeBack(heard, Decision{})
	}
	if s.configuring() {
		return s.takeBack(heard, Decision{})
	}
	if u.IfVersion != 0 && u.IfVersion != p.Version {
		r := refusal(commonpb.Reason_REASON_VERSION_CONFLICT,
			fmt.Sprintf("the product is at version %d: read it again and decide on that", p.Version), "ifVersion")
		r.CurrentVersion = p.Version
		return s.takeBack(heard, refuse(r))
	}
	next := contents(p, u)
	removed := without(p.Variants, next.Variants)
	if r := validateOwned(p, next.Variants); r != nil {
		return s.takeBack(heard, refuse(r))
	}
	if unchanged(p, next) {
		return s.takeBack(heard, shown(s))
	}
	claims := claims(s, next.Name, next.Variants)
	if missing(claims, heard) {
		return Decision{Asks: claims}
	}
	if r := refusedClaim(claims, next.Variants, heard); r != nil {
		return s.takeBack(heard, refuse(r))
	}
	next.Removed = removed
	next.ActorId = u.Actor.GetUserId()
	next.CommandId = id
	return Decision{Events: []*productpb.Event{{AtMs: now.UnixMilli(), Event: &productpb.Event_Updated{Updated: next}}}}
}

// contents is the product's contents with what the update sets.
func contents(p *productpb.Product, u *productpb.Update) *productpb.Updated {
	next := &productpb.Updated{Name: p.Name, Description: p.Description, ImageUrl: p.ImageUrl, Published: p.Published, Slug: p.Slug}
	if u.Name != nil {
		next.Name = *u.Name
	}
	if u.Description != nil {
		next.Description = *u.Description
	}
	if u.ImageUrl != nil {
		next.ImageUrl = *u.ImageUrl
	}
	if u.Published != nil {
		next.Published = *u.Published
	}
	if !u.ReplaceVariants {
		next.Variants = cloneVariants(p.Variants)
		return next
	}
	next.Variants = cloneVariants(u.Variants)
	for _, v := range next.Variants {
		// The SKU was given its first stock when it became the product's, and never is again.
		if owned := find(p.Variants, v.Sku); owned != nil {
			v.InitialStock = owned.InitialStock
		} else if owned := find(p.Retired, v.Sku); owned != nil {
			v.InitialStock = owned.InitialStock
		}
	}
	return next
}

func unchanged(p *productpb.Product, next *productpb.Updated) bool {
	return p.Name == next.Name && p.Description == next.Description && p.ImageUrl == next.ImageUrl && p.Published == next.Published &&
		slices.EqualFunc(p.Variants, next.Variants, func(a, b *productpb.Variant) bool { return proto.Equal(a, b) })
}

// without lists the SKUs of before that are not in after.
func without(before, after []*productpb.Variant) []string {
	var out []string
	for _, v := range before {
		if find(after, v.Sku) == nil {
			out = append(out, v.Sku)
		}
	}
	return out
}

// commandID is the update's own id or, for want of one, a hash of what it asks for.
func commandID(u *productpb.Update) string {
	if u.CommandId != "" {
		return u.CommandId
	}
	h := sha256.New()
	writeNumbers(h, u.IfVersion)
	for _, text := range []*string{u.Name, u.Description, u.ImageUrl} {
		if text == nil {
			writeNumbers(h, -1)
			continue
		}
		writeText(h, *text)
	}
	published := int64(-1)
	if u.Published != nil {
		published = 0
		if *u.Published {
			published = 1
		}
	}
	writeNumbers(h, published, int64(len(u.Variants)))
	for _, v := range u.Variants {
		writeVariant(h, v)
	}
	return hashedID + hex.EncodeToString(h.Sum(nil)[:16])
}

// appliedAt is the event version at which the command was applied before. By
// its contents alone only the newest is recognised: to set A, then B, then A
// again is something people do.
func appliedAt(p *productpb.Product, id string) (int64, bool) {
	for i := len(p.Applied) - 1; i >= 0; i-- {
		if p.Applied[i].CommandId == id {
			return p.Applied[i].Version, true
		}
		if strings.HasPrefix(id, hashedID) {
			break
		}
	}
	return 0, false
}
