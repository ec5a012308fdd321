package resolve

// How products are found by words: without regard to case and accents, each
// word the beginning of one of the product's.

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"stampede/gateway/fault"
	"stampede/proto/gen/productpb"
)

const (
	maxSearchCharacters = 100
	maxSearchWords      = 8
	// wordMark comes before each word of a product, and is in none.
	wordMark = "\n"
	// noWord is what a search without a letter or a digit looks for: no product has it.
	noWord = wordMark
)

// searchWords are the words that a product must have, all of them; none without
// a search.
func searchWords(search *string) ([]string, error) {
	if search == nil || strings.TrimSpace(*search) == "" {
		return nil, nil
	}
	var words []string
	good := text(*search, maxSearchCharacters)
	if good {
		if words = wordsOf(*search); len(words) == 0 {
			words = []string{noWord}
		}
	}
	if !good || len(words) > maxSearchWords {
		return nil, fault.InvalidField(fmt.Sprintf("must be at most %d words and %d characters, without control characters", maxSearchWords, maxSearchCharacters), "search")
	}
	for i := range words {
		words[i] = wordMark + words[i]
	}
	// Long words are rare: looked for first, they rule most products out at once.
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
	return words, nil
}

// searchText is what a product is found by: the words of its texts and SKUs, each once.
func searchText(p *productpb.Product) string {
	words := wordsOf(p.Name)
	words = append(words, wordsOf(p.Slug)...)
	words = append(words, wordsOf(p.Description)...)
	for _, v := range p.Variants {
		words = append(words, wordsOf(v.Sku)...)
		words = append(words, wordsOf(v.Name)...)
	}
	slices.Sort(words)
	var b strings.Builder
	for _, w := range slices.Compact(words) {
		b.WriteString(wordMark)
		b.WriteString(w)
	}
	return b.String()
}

// wordsOf are the runs of letters and digits of a text, folded: "Crème brûlée"
// has creme and brulee, "Straße" has strasse.
func wordsOf(s string) []string {
	return strings.FieldsFunc(fold(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func fold(s string) string {
	if plain(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for _, r := range norm.NFKD.String(cases.Fold().String(s)) {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plain reports ASCII, which needs no tables.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
