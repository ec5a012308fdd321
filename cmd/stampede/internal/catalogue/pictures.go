package catalogue

import (
	"fmt"
	"html"
)

// glyph is a category's line drawing in a box of 100 by 100.
func glyph(category string) string {
	return map[string]string{
		"audio":    `<path d="M18 62V50a32 32 0 0 1 64 0v12"/><rect x="12" y="56" width="16" height="26" rx="7"/><rect x="72" y="56" width="16" height="26" rx="7"/>`,
		"photo":    `<rect x="12" y="30" width="76" height="50" rx="8"/><path d="M36 30l6-10h16l6 10"/><circle cx="50" cy="55" r="16"/><circle cx="50" cy="55" r="7"/>`,
		"sneakers": `<path d="M10 66c0-12 2-22 4-28 6 6 14 6 20 0l24 20c8 4 24 4 30 10 3 3 2 8-2 8H14c-3 0-4-4-4-10z"/><path d="M40 46l8-6M48 52l8-6M10 68h78"/>`,
		"clothes":  `<path d="M36 16c4 10 24 10 28 0l20 10-8 20-10-4v42H34V42l-10 4-8-20z"/>`,
		"kitchen":  `<path d="M20 40h48v20a22 22 0 0 1-22 22h-4a22 22 0 0 1-22-22z"/><path d="M68 46h6a9 9 0 0 1 0 18h-6M34 30c-4-6 4-8 0-14M46 30c-4-6 4-8 0-14M58 30c-4-6 4-8 0-14"/>`,
		"games":    `<path d="M30 36h40a18 18 0 0 1 18 18c0 14-4 24-12 24-8 0-10-12-16-12H40c-6 0-8 12-16 12-8 0-12-10-12-24a18 18 0 0 1 18-18z"/><path d="M32 46v14M25 53h14"/><circle cx="64" cy="48" r="3"/><circle cx="73" cy="57" r="3"/>`,
		"home":     `<path d="M30 44l10-26h20l10 26zM50 44v38M34 82h32"/>`,
		"outdoors": `<path d="M10 80L50 18l40 62zM50 18v62M50 50L34 80M50 50l16 30"/>`,
	}[category]
}

// picture draws a product: its category's glyph on a gradient whose hue is the
// product's own. It needs nothing from outside.
func picture(index int, one item) []byte {
	hue := (index * 47) % 360
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" role="img" aria-label="%s">`+
		`<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="hsl(%d 55%% 88%%)"/><stop offset="1" stop-color="hsl(%d 50%% 68%%)"/></linearGradient></defs>`+
		`<rect width="400" height="400" fill="url(#g)"/>`+
		`<g transform="translate(80 70) scale(2.4)" fill="none" stroke="hsl(%d 45%% 25%%)" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">%s</g>`+
		`<text x="200" y="365" text-anchor="middle" font-family="system-ui,sans-serif" font-size="22" fill="hsl(%d 45%% 20%%)">%s</text></svg>`,
		html.EscapeString(one.name), hue, hue+30, hue, glyph(one.category), hue, html.EscapeString(one.name))
}
