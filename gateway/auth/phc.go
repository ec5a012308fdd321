// The PHC string form of password hashes:
// $argon2id$v=19$m=19456,t=2,p=1$<salt>$<key>, both in unpadded base64.
package auth

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// cost is what one hash takes.
type cost struct {
	memoryKiB uint32
	passes    uint32
	lanes     uint8
}

// recommendedCost is OWASP's: 19 MiB, 2 passes, 1 lane.
func recommendedCost() cost { return cost{memoryKiB: 19 << 10, passes: 2, lanes: 1} }

const (
	saltBytes = 16
	keyBytes  = 32

	// What a stored hash may ask for at most: whoever can write one must not be
	// able to have gigabytes allocated by logging in.
	maxMemoryKiB = 64 << 10
	maxPasses    = 10
	maxLanes     = 4
	minSaltBytes = 8
	maxSaltBytes = 64
	minKeyBytes  = 16
	maxKeyBytes  = 64
	maxPHCBytes  = 512
)

type hashed struct {
	cost      cost
	salt, key []byte
}

func (h hashed) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.memoryKiB, h.cost.passes, h.cost.lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key))
}

// parseHash never puts the hash into an error.
func parseHash(phc string) (hashed, error) {
	if len(phc) > maxPHCBytes {
		return hashed{}, fmt.Errorf("%w: too long", ErrHash)
	}
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return hashed{}, fmt.Errorf("%w: not argon2id version %d in PHC form", ErrHash, argon2.Version)
	}
	c, err := parseCost(parts[3])
	if err != nil {
		return hashed{}, err
	}
	salt, err := decodeWithin(parts[4], minSaltBytes, maxSaltBytes)
	if err != nil {
		return hashed{}, fmt.Errorf("%w: salt", ErrHash)
	}
	key, err := decodeWithin(parts[5], minKeyBytes, maxKeyBytes)
	if err != nil {
		return hashed{}, fmt.Errorf("%w: key", ErrHash)
	}
	return hashed{cost: c, salt: salt, key: key}, nil
}

func parseCost(s string) (cost, error) {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return cost{}, fmt.Errorf("%w: parameters", ErrHash)
	}
	var n [3]uint32
	for i, bound := range [...]struct {
		name string
		most uint64
	}{{"m=", maxMemoryKiB}, {"t=", maxPasses}, {"p=", maxLanes}} {
		digits, ok := strings.CutPrefix(fields[i], bound.name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || v < 1 || v > bound.most {
			return cost{}, fmt.Errorf("%w: %s must be 1 to %d", ErrHash, bound.name, bound.most)
		}
		n[i] = uint32(v)
	}
	if n[0] < 8*n[2] {
		return cost{}, fmt.Errorf("%w: less memory than 8 KiB a lane", ErrHash)
	}
	return cost{memoryKiB: n[0], passes: n[1], lanes: uint8(n[2])}, nil //nolint:gosec // at most maxLanes
}

func decodeWithin(s string, low, high int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err == nil && (len(b) < low || len(b) > high) {
		err = ErrHash
	}
	return b, err
}
