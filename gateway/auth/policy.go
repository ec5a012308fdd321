// Which passwords are taken.
package auth

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"stampede/proto/gen/commonpb"
)

const (
	minPasswordBytes = 8
	// minNameInPassword is how long the name part of an e-mail address must be
	// for a password to be weak because it is in it: "jo" is in many words.
	minNameInPassword = 4
)

// checkLength refuses what cannot be a password at all.
func checkLength(password, field string) *commonpb.Refusal {
	if len(password) > MaxPasswordBytes || !utf8.ValidString(password) {
		return refusal(commonpb.Reason_REASON_INVALID, fmt.Sprintf("must be at most %d bytes of text", MaxPasswordBytes), field)
	}
	return nil
}

// checkPassword says what is wrong with a new password, or nothing. The e-mail
// address is normalised.
func checkPassword(password, email, field string) *commonpb.Refusal {
	if r := checkLength(password, field); r != nil {
		return r
	}
	lower := strings.ToLower(password)
	name, _, _ := strings.Cut(email, "@")
	switch {
	case len(password) < minPasswordBytes:
		return weak(fmt.Sprintf("must be at least %d bytes", minPasswordBytes), field)
	case isCommon(lower) || isOneCharacter(lower):
		return weak("is among the first that anyone would guess: choose another", field)
	case lower == email || len(name) >= minNameInPassword && strings.Contains(lower, name):
		return weak("must not contain the name in the e-mail address", field)
	}
	return nil
}

func weak(message, field string) *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_WEAK_PASSWORD, message, field)
}

func refusal(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func isOneCharacter(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return strings.Trim(s, string(first)) == ""
}

// isCommon knows the head of every list of leaked passwords, of 8 bytes and
// more, in lower case. It is no dictionary: what stops guessing is that an
// account locks.
func isCommon(lower string) bool {
	switch lower {
	case "12345678", "123456789", "1234567890", "0123456789", "987654321", "87654321", "0987654321", "123123123", "12341234", "11223344",
		"112233445566", "147258369", "123654789", "12345679", "123456789a", "a123456789", "1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx", "qwerty123",
		"qwerty12", "qwertyui", "qwertyuiop", "q1w2e3r4", "q1w2e3r4t5", "qazwsxedc", "qwer1234", "1234qwer", "asdfghjk", "asdfghjkl",
		"asdf1234", "zxcvbnm1", "zxcvbnm123", "password", "password1", "password12", "password123", "password1234", "password!", "passw0rd",
		"p@ssword", "p@ssw0rd", "pa$$word", "passwort", "passwort1", "passwort123", "motdepasse", "contraseña", "letmein1", "letmein123",
		"welcome1", "welcome123", "iloveyou", "iloveyou1", "sunshine", "princess", "football", "football1", "baseball", "baseball1",
		"superman", "starwars", "trustno1", "computer", "internet", "whatever", "michelle", "jennifer", "charlie1", "liverpool",
		"abcdefgh", "abcd1234", "abc12345", "abc123456", "1234abcd", "admin123", "admin1234", "administrator", "changeme", "changeme1",
		"default1", "secret123", "test1234", "testtest", "master123", "dragon123", "monkey123", "shadow123", "stampede", "stampede1":
		return true
	}
	return false
}
