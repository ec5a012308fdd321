package main

// The demo with more than placing orders: a sale with a waiting room, payments,
// cancellations, expiries, fulfilments and refunds.

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/sale"
	"stampede/cmd/stampede/internal/shop"
)

// tradeFlags say what shoppers do beyond placing orders.
type tradeFlags struct {
	WaitingRoom bool          `group:"The sale" help:"Hold a real sale: shoppers join its waiting room, are let in by and by, and may have two units each; some try to get around that."`
	Admission   string        `default:"shuffled" placeholder:"POLICY" group:"The sale" help:"Who is let in first with --waiting-room: shuffled (lots are drawn at the opening, and checked) or first-come."`
	Pay         bool          `group:"The sale" help:"Orders are paid, declined, cancelled, forgotten, fulfilled and refunded; the proof covers the money."`
	Hold        time.Duration `default:"12s" placeholder:"DURATION" group:"The sale" help:"How long an order holds its units with --pay. The proof waits for the last hold that nobody pays."`
}

const (
	admissionShuffled  = "shuffled"
	admissionFirstCome = "first-come"

	// longHold: no hold may end before the proof has looked.
	longHold                    = time.Hour
	leastDemoHold, mostDemoHold = 2 * time.Second, 10 * time.Minute
)

func (f *tradeFlags) validate(wrong *faults, skus int) {
	checkOneOf(wrong, "admission", f.Admission, admissionShuffled, admissionFirstCome)
	if f.Hold < leastDemoHold || f.Hold > mostDemoHold {
		wrong.add("hold", "is %s; %s to %s is right", f.Hold, leastDemoHold, mostDemoHold)
	}
	if f.WaitingRoom && skus > sale.MaxSaleSKUs && !wrong.has("skus") {
		wrong.add("skus", "is %d; a sale with a waiting room has at most %d", skus, sale.MaxSaleSKUs)
	}
}

// trades: more is done than placing orders.
func (f *tradeFlags) trades() bool { return f.WaitingRoom || f.Pay }

func (f *tradeFlags) holdFor() time.Duration {
	if f.Pay {
		return f.Hold
	}
	return longHold
}

// verdict is what a proof came to.
type verdict interface {
	Holds() bool
	WriteTable(w io.Writer, s proof.Speed) error
	WriteJSON(w io.Writer, s proof.Speed) error
}

// runnable is a sale that can be watched.
type runnable interface {
	underWay
	Run(ctx context.Context) (*load.Report, error)
}

// trade runs such a sale and looks at what came of it.
func (c *demoCmd) trade(ctx context.Context, s demoHost, base sale.Config, std streams) (verdict, proof.Speed, error) {
	var none proof.Speed
	one := sale.NewTrade(c.tradeConfig(base))
	s.watches(one)
	if err := one.Prepare(ctx); err != nil {
		return nil, none, err
	}
	fmt.Fprintf(std.out, "%d shoppers want units of %d SKU(s), of which there are %d, %d at a time. %s\n\n", c.Shoppers, c.SKUs, c.Units, c.Concurrency, c.story())
	ran, err := c.watch(ctx, one, std)
	if err != nil {
		return nil, none, err
	}
	waits := ""
	if c.Pay {
		waits = "the last hold ends, "
	}
	fmt.Fprintf(std.out, "\nThe sale took %s. Now %severy order is read back, keys are repeated, and a consumer group reads the events.\n", ran.Elapsed.Round(time.Millisecond), waits)
	if err := one.Audit(ctx); err != nil {
		return nil, none, err
	}
	if err := one.ReadEvents(ctx, s.kafka()); err != nil {
		return nil, none, err
	}
	history := one.History()
	if c.Pay {
		if err := readBooks(ctx, s, history); err != nil {
			return nil, none, err
		}
	}
	var servers proof.History
	s.count(&servers)
	history.Nodes, history.Crashes, history.Drained = servers.Nodes, servers.Crashes, servers.Drained
	return proof.ProveTrade(history), speedOf(ran), nil
}

func (c *demoCmd) tradeConfig(base sale.Config) sale.TradeConfig {
	config := sale.TradeConfig{Config: base, Pay: c.Pay, HoldFor: c.holdFor()}
	if !c.WaitingRoom {
		return config
	}
	config.Admission = "FIRST_COME"
	if c.Admission == admissionShuffled {
		config.Admission = "SHUFFLED_AT_OPENING"
	}
	config.Aliases = func(ctx context.Context, i int) ([]string, error) { return spellings(ctx, base, i) }
	return config
}

// spellings registers a shopper, who then logs in with the same address in other
// letters: one customer with several tokens.
func spellings(ctx context.Context, base sale.Config, i int) ([]string, error) {
	client := shop.NewClient(base.Staff.URL, "")
	email, password := fmt.Sprintf("demo-%s-%d@stampede.test", base.Run, i), randomHex(16)
	first, err := client.Register(ctx, email, password, "Demo")
	if err != nil {
		return nil, err
	}
	second, err := client.LogIn(ctx, strings.ToUpper(email), password)
	if err != nil {
		return nil, err
	}
	return []string{first, second}, nil
}

// story says what is going to happen.
func (c *demoCmd) story() string {
	var told []string
	if c.WaitingRoom {
		told = append(told, "Most wait before the opening, some come later, some try to get in without a token, and some want more than their share.")
	}
	if c.Pay {
		told = append(told, fmt.Sprintf("They pay with cards that work, are declined, time out or ask for more; some cancel, some forget (a hold lasts %s). The staff sends parcels and gives money back.", c.holdFor()))
	}
	return strings.Join(told, " ")
}
