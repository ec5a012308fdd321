// What tests with many people leave out: neither belongs into a shop.
package auth

// NewCheapPasswords is NewPasswords at a cost that protects nobody: hashes are
// made in microseconds, and can be guessed as fast. For tests only.
func NewCheapPasswords(workers, queue int) *Passwords {
	return newPasswords(workers, queue, cost{memoryKiB: 64, passes: 1, lanes: 1})
}

// AnswerFailuresAtOnce has failed log-ins answered when they have failed, whose
// time then tells which addresses are known. For tests only; before the first use.
func (a *Accounts) AnswerFailuresAtOnce() { a.failedAt = 0 }
