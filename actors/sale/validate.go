package sale

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

func invalid(message string, field ...string) *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_INVALID, message, field...)
}

// checkCreate is why a Create cannot be decided at all.
func checkCreate(c *salepb.Create, nowMs int64) *commonpb.Refusal {
	room := c.GetAdmission() != salepb.Admission_ADMISSION_OPEN_TO_ALL
	switch {
	case !text(c.GetIdempotencyKey(), maxKeyBytes):
		return invalid("must be 1 to "+strconv.Itoa(maxKeyBytes)+" bytes without control characters", "idempotencyKey")
	case strings.TrimSpace(c.GetName()) == "" || !text(c.GetName(), utf8.UTFMax*MaxNameCharacters) || utf8.RuneCountInString(c.GetName()) > MaxNameCharacters:
		return invalid("must be 1 to "+strconv.Itoa(MaxNameCharacters)+" characters, not all spaces, without control characters", "name")
	case c.GetPerCustomerLimit() < 0 || c.GetPerCustomerLimit() > MaxPerCustomer:
		return invalid("must be 1 to "+strconv.Itoa(MaxPerCustomer)+", or left out", "perCustomerLimit")
	case c.GetAdmission() < salepb.Admission_ADMISSION_OPEN_TO_ALL || c.GetAdmission() > salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING:
		return invalid("must be a policy that there is", "admission")
	case !room && c.GetAdmitPerSecond() != 0:
		return invalid("is for sales with a waiting room: admission FIRST_COME or SHUFFLED_AT_OPENING", "admitPerSecond")
	case room && (c.GetAdmitPerSecond() < 1 || c.GetAdmitPerSecond() > MaxAdmitPerSecond):
		return invalid("must be 1 to "+strconv.Itoa(MaxAdmitPerSecond)+" in a sale with a waiting room", "admitPerSecond")
	case len(c.GetItems()) < 1 || len(c.GetItems()) > MaxItems:
		return invalid("must be 1 to "+strconv.Itoa(MaxItems), "items")
	case c.GetAdmission() == salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING && len(c.GetShuffleSecret()) != SecretBytes:
		return invalid("a shuffle has a secret of "+strconv.Itoa(SecretBytes)+" bytes", "admission")
	}
	if r := checkWindow(c.GetStartsAtMs(), c.GetEndsAtMs(), nowMs); r != nil {
		return r
	}
	return checkItems(c.GetItems())
}

func checkItems(items []*salepb.CreateItem) *commonpb.Refusal {
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		at := func(message string, field ...string) *commonpb.Refusal {
			return invalid(message, append([]string{"items", strconv.Itoa(i)}, field...)...)
		}
		price := item.GetSalePrice()
		switch {
		case !validSKU(item.GetSku()):
			return at("must be 1 to 64 letters, digits, hyphens and underscores", "sku")
		case seen[item.GetSku()]:
			return at("must be different from the other items' SKUs", "sku")
		case price == nil || price.GetMinorUnits() < 0 || price.GetMinorUnits() > maxPriceUnit || len(price.GetCurrency()) != 3:
			return at("must be at least 0, in an ISO 4217 currency", "salePrice")
		case item.GetAllocation() < 1 || item.GetAllocation() > MaxAllocation:
			return at("must be 1 to "+strconv.Itoa(MaxAllocation), "allocation")
		}
		seen[item.GetSku()] = true
	}
	return nil
}

// checkWindow: a sale may have started already, and has not ended.
func checkWindow(startsAtMs, endsAtMs, nowMs int64) *commonpb.Refusal {
	switch {
	case startsAtMs < 1:
		return invalid("must be a moment of this era", "startsAt")
	case endsAtMs <= startsAtMs:
		return invalid("must be after startsAt", "endsAt")
	case endsAtMs <= nowMs:
		return invalid("must be in the future", "endsAt")
	case endsAtMs-MaxAhead.Milliseconds() > nowMs:
		return invalid("must be within "+strconv.Itoa(int(MaxAhead/(24*time.Hour)))+" days", "endsAt")
	}
	return nil
}

func checkControl(c *salepb.Control) *commonpb.Refusal {
	switch {
	case c.GetIfVersion() < 0:
		return invalid("must be the version that was read, at least 1", "ifVersion")
	case c.GetEnd() && (c.Pause != nil || c.AdmitPerSecond != nil || c.StartsAtMs != nil || c.EndsAtMs != nil):
		return invalid("stands alone: a sale that ends has nothing else to change", "end")
	case !c.GetEnd() && c.Pause == nil && c.AdmitPerSecond == nil && c.StartsAtMs == nil && c.EndsAtMs == nil:
		return invalid("say what to change: pause, end, admitPerSecond, startsAt or endsAt")
	case c.AdmitPerSecond != nil && (c.GetAdmitPerSecond() < 0 || c.GetAdmitPerSecond() > MaxAdmitPerSecond):
		return invalid("must be 0 to "+strconv.Itoa(MaxAdmitPerSecond), "admitPerSecond")
	}
	return nil
}

// text reports 1 to most bytes of UTF-8 without control characters.
func text(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// validSKU reports [A-Za-z0-9_-]{1,64}.
func validSKU(id string) bool {
	for i := range len(id) {
		c := id[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return id != "" && len(id) <= maxIDBytes
}

// inputHash is the SHA-256 of what a Create asks for. It is stored, so it rests
// on an encoding of its own. The secret is not part of it: it is made anew with
// every try, and the first stays.
func inputHash(c *salepb.Create) []byte {
	b := appendText(nil, "create/1", c.GetName())
	for _, n := range [...]int64{
		c.GetStartsAtMs(), c.GetEndsAtMs(), c.GetPerCustomerLimit(), int64(c.GetAdmission()), c.GetAdmitPerSecond(), int64(len(c.GetItems())),
	} {
		b = binary.AppendVarint(b, n)
	}
	for _, item := range c.GetItems() {
		b = appendText(b, item.GetSku(), item.GetSalePrice().GetCurrency())
		b = binary.AppendVarint(b, item.GetSalePrice().GetMinorUnits())
		b = binary.AppendVarint(b, item.GetAllocation())
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func appendText(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}
