// The errors of this package. Refusals that a person can put right are
// commonpb.Refusal; these are the rest.
package auth

import (
	"errors"
	"fmt"

	"stampede/actors/entity"
)

// ErrToken is what every error of Tokens.Verify wraps. What a caller is told is
// no more than that: the finer ones are for tests and counters.
var (
	ErrToken = errors.New("access token not accepted")

	ErrTokenTooLarge  = fmt.Errorf("%w: too large", ErrToken)
	ErrTokenMalformed = fmt.Errorf("%w: malformed", ErrToken)
	// ErrTokenHeader: another type of token, a critical extension, no such algorithm.
	ErrTokenHeader = fmt.Errorf("%w: header", ErrToken)
	// ErrTokenKey: not signed by one of our keys, by the name of the key.
	ErrTokenKey = fmt.Errorf("%w: unknown key", ErrToken)
	// ErrTokenSignature: a signature that is not good, or of another algorithm than ours.
	ErrTokenSignature = fmt.Errorf("%w: signature", ErrToken)
	// ErrTokenClaims: a claim is missing, for someone else, or out of bounds.
	ErrTokenClaims  = fmt.Errorf("%w: claims", ErrToken)
	ErrTokenExpired = fmt.Errorf("%w: expired", ErrToken)
)

// ErrAPIKey: no key is known by this secret, or it is expired or revoked.
var ErrAPIKey = errors.New("API key not accepted")

var (
	// ErrBusy: too many passwords are waiting to be hashed. Nothing was done.
	ErrBusy = fmt.Errorf("password hashing: %w", entity.ErrOverloaded)
	// ErrHash: a stored password hash cannot be read or asks for more work than is allowed.
	ErrHash = errors.New("stored password hash cannot be used")
	// ErrReply: an actor answered with something that is not an answer to the question.
	ErrReply = errors.New("unexpected reply")
)
