package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/mail"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
)

// benchCmd is the load generator alone.
type benchCmd struct {
	URL         string        `name:"url" default:"http://127.0.0.1:8080" placeholder:"URL" group:"Load" help:"The server's base, without /graphql."`
	Duration    time.Duration `default:"10s" placeholder:"DURATION" group:"Load" help:"How long new requests are sent."`
	Concurrency int           `default:"64" placeholder:"N" group:"Load" help:"Connections, each with one request at a time."`
	SKUs        int           `name:"skus" default:"1" placeholder:"N" group:"Load" help:"SKUs that orders are spread over."`
	Lane        string        `default:"place" placeholder:"LANE" group:"Load" help:"place: orders of one unit; pay: the same, paid in the same call; sale: the same, in a sale with a limit for each customer; read: the first page of the product list."`
	JSON        bool          `name:"json" group:"Load" help:"Print the result as one JSON object on the last line."`

	UseSKUs     []string `name:"use-skus" placeholder:"SKU" sep:"," group:"Who asks" help:"SKUs that are there already; without them, staff makes new ones."`
	StaffEmail  string   `placeholder:"EMAIL" group:"Who asks" help:"Who makes the SKUs, with the password in STAMPEDE_STAFF_PASSWORD."`
	SigningKeys string   `placeholder:"DIR" group:"Who asks" help:"The server's signing keys: makes tokens for staff and shoppers instead of logging in."`
	Customers   int      `placeholder:"N" group:"Who asks" help:"Shoppers who take turns: a server limits what each may ask for. 32 if not given, who register first, which costs the server a password hash each; 4096 with --signing-keys."`

	staffPassword secret
}

// staffPasswordEnv holds the password of --staff-email.
const staffPasswordEnv = envPrefix + "_STAFF_PASSWORD"

// Bounds of a bench run.
const (
	maxBenchDuration = 10 * time.Minute // shorter than the life of a token
	maxCustomers     = 100_000

	registeredCustomers = 32
	signedCustomers     = 4_096
	maxBenchSKUs        = 1_000
	benchStock          = 100_000_000 // of each SKU: stock is not what is measured
	benchPatience       = 30 * time.Second
)

// Validate lists everything that is wrong with the configuration.
func (c *benchCmd) Validate() faults {
	c.staffPassword = secret(os.Getenv(staffPasswordEnv))
	var wrong faults
	if u, err := url.Parse(c.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		wrong.add("url", "%q is not an http or https URL", c.URL)
	}
	if c.Duration < time.Second || c.Duration > maxBenchDuration {
		wrong.add("duration", "is %s; 1s to %s is right", c.Duration, maxBenchDuration)
	}
	checkCount(&wrong, "concurrency", c.Concurrency, maxConcurrency)
	checkCount(&wrong, "skus", c.SKUs, maxBenchSKUs)
	if c.Customers == 0 {
		c.Customers = registeredCustomers
		if c.SigningKeys != "" {
			c.Customers = signedCustomers
		}
	}
	checkCount(&wrong, "customers", c.Customers, maxCustomers)
	checkOneOf(&wrong, "lane", c.Lane, lanePlace, lanePay, laneSale, laneRead)
	if c.SigningKeys != "" {
		if _, err := os.Stat(c.SigningKeys); err != nil {
			wrong.add("signing-keys", "%q cannot be read: %v", c.SigningKeys, errors.Unwrap(err))
		}
		checkDirectory(&wrong, "signing-keys", c.SigningKeys)
	}
	c.validateStaff(&wrong)
	return wrong
}

func (c *benchCmd) validateStaff(wrong *faults) {
	if c.StaffEmail != "" {
		if _, err := mail.ParseAddress(c.StaffEmail); err != nil {
			wrong.add("staff-email", "%q is not an e-mail address", c.StaffEmail)
		}
		if c.staffPassword == "" {
			wrong.add("staff-email", "needs the password in %s", staffPasswordEnv)
		}
	}
	noStaff := c.StaffEmail == "" && c.SigningKeys == ""
	if (c.Lane == lanePlace || c.Lane == lanePay) && len(c.UseSKUs) == 0 && noStaff {
		wrong.add("use-skus", "nothing says what to order: give SKUs that are there, or --staff-email or --signing-keys to make some")
	}
	if c.Lane == laneSale {
		c.validateSaleLane(wrong, noStaff)
	}
}

// Run loads the server and prints what came of it.
func (c *benchCmd) Run(ctx context.Context, std streams) error {
	if c.JSON {
		std.out, std.json = std.err, std.out
	}
	people, err := c.people(ctx, std.out)
	if err != nil {
		return err
	}
	skus := c.UseSKUs
	if c.Lane != laneRead && len(skus) == 0 {
		if skus, err = c.makeSKUs(ctx, people.staff); err != nil {
			return err
		}
	}
	saleID := ""
	if c.Lane == laneSale {
		if saleID, err = c.makeSale(ctx, people.staff, skus); err != nil {
			return err
		}
	}
	fmt.Fprintf(std.out, "%s lane: %d connections to %s for %s\n", c.Lane, c.Concurrency, c.URL, c.Duration)
	ran, err := load.Run(ctx, c.options(skus, saleID, people.shoppers))
	if err != nil {
		return err
	}
	if err := writeBench(std, c, ran); err != nil {
		return err
	}
	if ran.Answered() == 0 {
		return fmt.Errorf("nothing was answered: %w", errors.Join(ran.Lost, ctx.Err()))
	}
	return nil
}

func (c *benchCmd) options(skus []string, saleID string, tokens []string) load.Options {
	run, until := randomHex(6), time.Now().Add(c.Duration)
	var next atomic.Int64
	o := load.Options{URL: c.URL, Concurrency: c.Concurrency, Patience: benchPatience, Judge: c.judge()}
	o.Next = func(t *load.Task) bool {
		if !time.Now().Before(until) {
			return false
		}
		i := int(next.Add(1)) - 1
		t.Index, t.Token = i, tokens[i%len(tokens)]
		if c.Lane == laneRead {
			t.Body = shop.AppendCatalogue(t.Body[:0])
			return true
		}
		t.Body = c.appendOrder(t.Body[:0], fmt.Sprintf("bench-%s-%d", run, i), skus[i%len(skus)], saleID)
		return true
	}
	return o
}

// people are the tokens of those who ask.
type people struct {
	staff    string
	shoppers []string
}

// people makes tokens where it has the keys, and else registers and logs in.
func (c *benchCmd) people(ctx context.Context, out io.Writer) (people, error) {
	if c.SigningKeys != "" {
		return c.signedPeople()
	}
	var p people
	client := shop.NewClient(c.URL, "")
	if c.StaffEmail != "" {
		token, err := client.LogIn(ctx, c.StaffEmail, string(c.staffPassword))
		if err != nil {
			return p, err
		}
		p.staff = token
	}
	fmt.Fprintf(out, "Registering %d shoppers\n", c.Customers)
	run := randomHex(6)
	for i := range c.Customers {
		token, err := client.Register(ctx, fmt.Sprintf("bench-%s-%d@stampede.test", run, i), randomHex(16), "Bench")
		if err != nil {
			return p, err
		}
		p.shoppers = append(p.shoppers, token)
	}
	return p, nil
}

func (c *benchCmd) signedPeople() (people, error) {
	var p people
	sign, err := signer(c.SigningKeys)
	if err != nil {
		return p, err
	}
	if p.staff, err = sign("bench-staff", auth.Customer, auth.Staff); err != nil {
		return p, err
	}
	for i := range c.Customers {
		token, err := sign(fmt.Sprintf("bench-shopper-%d", i), auth.Customer)
		if err != nil {
			return p, err
		}
		p.shoppers = append(p.shoppers, token)
	}
	return p, nil
}

// makeSKUs makes products with more stock than can be ordered.
func (c *benchCmd) makeSKUs(ctx context.Context, token string) ([]string, error) {
	const most = 50 // variants of a product
	client, run := shop.NewClient(c.URL, token), randomHex(4)
	var skus []string
	for len(skus) < c.SKUs {
		p := shop.Product{Slug: fmt.Sprintf("bench-%s-%d", run, len(skus)/most+1), Name: "Bench " + run}
		for range min(most, c.SKUs-len(skus)) {
			sku := fmt.Sprintf("BENCH-%s-%d", run, len(skus)+1)
			skus = append(skus, sku)
			p.Variants = append(p.Variants, shop.Variant{SKU: sku, Name: sku, Price: shop.Money{Amount: "19.90", Currency: "EUR"}, Stock: benchStock})
		}
		if err := client.CreateProduct(ctx, p.Slug, p); err != nil {
			return nil, err
		}
	}
	return skus, nil
}

// benchResult is what --json prints.
type benchResult struct {
	Lane        string           `json:"lane"`
	Concurrency int              `json:"concurrency"`
	Seconds     float64          `json:"seconds"`
	Answered    int64            `json:"answered"`
	PerSecond   float64          `json:"perSecond"`
	Accepted    int64            `json:"accepted"`
	Refused     map[string]int64 `json:"refused"`
	Failed      map[string]int64 `json:"failed"`
	Unanswered  int64            `json:"unanswered"`
	Retries     map[string]int64 `json:"retries"`
	P50Ms       float64          `json:"p50Ms"`
	P90Ms       float64          `json:"p90Ms"`
	P99Ms       float64          `json:"p99Ms"`
	P999Ms      float64          `json:"p999Ms"`
	MaxMs       float64          `json:"maxMs"`
}

func writeBench(std streams, c *benchCmd, r *load.Report) error {
	t := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n  answered\t%d\t%.0f a second over %s\n", r.Answered(), r.PerSecond(), r.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(t, "  accepted\t%d\t\n", r.Accepted)
	for _, group := range []struct {
		name   string
		counts map[string]int64
	}{{"refused", r.Refused}, {"failed", r.Failed}, {"retried", r.Retries}} {
		for _, reason := range slices.Sorted(maps.Keys(group.counts)) {
			fmt.Fprintf(t, "  %s\t%d\t%s\n", group.name, group.counts[reason], reason)
		}
	}
	fmt.Fprintf(t, "  unanswered\t%d\t\n", r.Unanswered)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "\n  latency, ms, retries included\n")
	for _, percentile := range []float64{50, 75, 90, 95, 99, 99.9, 99.99, 100} {
		millis := r.Millis(percentile)
		fmt.Fprintf(std.out, "  %7s %9.2f  %s\n", fmt.Sprintf("p%v", percentile), millis, bar(millis, r.Millis(100)))
	}
	if std.json == nil {
		return nil
	}
	return json.NewEncoder(std.json).Encode(benchResult{
		Lane: c.Lane, Concurrency: c.Concurrency, Seconds: r.Elapsed.Seconds(), Answered: r.Answered(), PerSecond: r.PerSecond(),
		Accepted: r.Accepted, Refused: r.Refused, Failed: r.Failed, Unanswered: r.Unanswered, Retries: r.Retries,
		P50Ms: r.Millis(50), P90Ms: r.Millis(90), P99Ms: r.Millis(99), P999Ms: r.Millis(99.9), MaxMs: r.Millis(100),
	})
}

// bar draws a value against the largest one.
func bar(value, largest float64) string {
	const width = 40
	if largest <= 0 {
		return ""
	}
	return strings.Repeat("▪", int(value/largest*width))
}
