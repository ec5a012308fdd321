package payments

// The page that a shopper is sent to by TokenRequiresAction, as a bank's page
// for 3-D Secure is: it says what is to be paid, and the shopper agrees or not.
//
// Any node serves it, and no node remembers anything for it. Its address is a
// claim, signed with the cluster's secret, of which payment it is about. What
// the shopper decides is signed evidence, which goes to the order with a notice
// and from there to the provider with the question what has become of the
// payment: so the provider's answer decides, on whichever node it is asked.

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"stampede/proto/gen/commonpb"
)

// PagePath is where the page is mounted.
const PagePath = "/simulator/payments/"

const (
	maxClaimBytes = 512
	maxFormBytes  = 1024
)

// Desk signs what the simulator sends a shopper with, and what comes back. All
// nodes of a cluster have the same secret.
type Desk struct{ secret []byte }

// NewDesk signs with a key of its own that is derived from the secret.
func NewDesk(secret []byte) *Desk {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("stampede: simulated payments"))
	return &Desk{secret: mac.Sum(nil)}
}

// WithDesk sends shoppers to the page, and takes the evidence that it makes.
func WithDesk(d *Desk) SimulatorOption {
	return func(s *Simulator) { s.desk = d }
}

// claim is the payment that a page is about.
type claim struct {
	id     attemptID
	amount *commonpb.Money
}

// url is the page's address, within the shop's.
func (d *Desk) url(id attemptID, amount *commonpb.Money) string {
	return PagePath + d.seal("page", id.order, strconv.FormatInt(id.number, 10), strconv.FormatInt(amount.GetMinorUnits(), 10), amount.GetCurrency())
}

func (d *Desk) open(text string) (claim, bool) {
	parts, ok := d.unseal("page", text, 4)
	if !ok {
		return claim{}, false
	}
	number, err1 := strconv.ParseInt(parts[1], 10, 64)
	minor, err2 := strconv.ParseInt(parts[2], 10, 64)
	return claim{attemptID{parts[0], number}, &commonpb.Money{MinorUnits: minor, Currency: parts[3]}}, errors.Join(err1, err2) == nil
}

func (d *Desk) evidence(id attemptID, agreed bool) string {
	return d.seal("decision", id.order, strconv.FormatInt(id.number, 10), strconv.FormatBool(agreed))
}

// decision is what the shopper decided about this payment, if the evidence says so.
func (d *Desk) decision(id attemptID, evidence string) (agreed, ok bool) {
	parts, ok := d.unseal("decision", evidence, 3)
	if !ok || parts[0] != id.order || parts[1] != strconv.FormatInt(id.number, 10) {
		return false, false
	}
	return parts[2] == "true", true
}

func (d *Desk) seal(what string, parts ...string) string {
	body := strings.Join(parts, "\x00")
	return base64.RawURLEncoding.EncodeToString(append(d.mac(what, body), body...))
}

func (d *Desk) unseal(what, text string, n int) ([]string, bool) {
	if len(text) > maxClaimBytes {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < macBytes || !hmac.Equal(b[:macBytes], d.mac(what, string(b[macBytes:]))) {
		return nil, false
	}
	parts := strings.Split(string(b[macBytes:]), "\x00")
	return parts, len(parts) == n
}

const macBytes = 16

func (d *Desk) mac(what, body string) []byte {
	mac := hmac.New(sha256.New, d.secret)
	mac.Write([]byte(what + "\x00" + body))
	return mac.Sum(nil)[:macBytes]
}

// Standing is where a payment stands.
type Standing int

const (
	// Over: it is of no interest any more: another one took its place, or the order ended.
	Over Standing = iota
	Waits
	Approved
	Declined
)

// Tell takes a notice with evidence to the order, and says where the payment
// stands when the order has taken it in.
type Tell func(ctx context.Context, orderID string, attempt int64, evidence string) (Standing, error)

//go:embed simulator_page.html
var pageText string

// Page serves the simulator's page under PagePath.
type Page struct {
	desk   *Desk
	tell   Tell
	format func(*commonpb.Money) string
	page   *template.Template
	policy string
	log    *slog.Logger
}

// NewPage is a page over the desk that sends shoppers to it. format is an amount
// for people.
func NewPage(d *Desk, tell Tell, format func(*commonpb.Money) string, log *slog.Logger) *Page {
	style := pageText[strings.Index(pageText, "<style>")+len("<style>") : strings.Index(pageText, "</style>")]
	sum := sha256.Sum256([]byte(style))
	return &Page{
		desk: d, tell: tell, format: format, log: log, page: template.Must(template.New("page").Parse(pageText)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

type shownPage struct {
	Amount, Order, Title, Text string
	Asks                       bool
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := p.desk.open(strings.TrimPrefix(r.URL.Path, PagePath))
	if !ok {
		p.show(w, http.StatusNotFound, shownPage{Title: "No such payment", Text: "This address is not one that the shop has given out."})
		return
	}
	shown := shownPage{Amount: p.format(c.amount), Order: c.id.order}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		shown.Asks, shown.Title = true, "Confirm your payment"
		shown.Text = "The shop asks your bank for this amount. No money moves: this bank is simulated."
		p.show(w, http.StatusOK, shown)
	case r.Method == http.MethodPost:
		p.decide(w, r, c, shown)
	default:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "GET or POST", http.StatusMethodNotAllowed)
	}
}

func (p *Page) decide(w http.ResponseWriter, r *http.Request, c claim, shown shownPage) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("decision") != "approve" && r.PostForm.Get("decision") != "decline" {
		shown.Asks, shown.Title, shown.Text = true, "Confirm your payment", "Approve or decline."
		p.show(w, http.StatusBadRequest, shown)
		return
	}
	stands, err := p.tell(r.Context(), c.id.order, c.id.number, p.desk.evidence(c.id, r.PostForm.Get("decision") == "approve"))
	switch {
	case err != nil:
		p.log.WarnContext(r.Context(), "what a shopper decided at the simulator's page was not taken in", slog.String("order", c.id.order), slog.Any("error", err))
		shown.Asks, shown.Title, shown.Text = true, "Not yet", "The shop does not answer at the moment. Nothing was decided: try again."
		w.Header().Set("Retry-After", "1")
		p.show(w, http.StatusServiceUnavailable, shown)
		return
	case stands == Waits:
		shown.Asks, shown.Title, shown.Text = true, "Not yet", "The shop has not taken it in. Nothing was decided: try again."
		p.show(w, http.StatusConflict, shown)
		return
	case stands == Approved:
		shown.Title, shown.Text = "Thank you", "You agreed to this payment, and the shop knows."
	case stands == Declined:
		shown.Title, shown.Text = "Declined", "You did not agree to this payment, and the shop knows. You can pay in another way while your order is held."
	default:
		shown.Title, shown.Text = "Too late", "The shop does not wait for this payment any more. Nothing was paid by it."
	}
	p.show(w, http.StatusOK, shown)
}

func (p *Page) show(w http.ResponseWriter, status int, shown shownPage) {
	var b bytes.Buffer
	if err := p.page.Execute(&b, shown); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a shopper who has gone is told nothing
}
