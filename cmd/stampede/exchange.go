package main

// stampede import products and stampede export products: what an operator does
// with a catalogue as a file. Both go through the API.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/url"
	"os"
	"time"

	"stampede/cmd/stampede/internal/exchange"
	"stampede/cmd/stampede/internal/shop"
)

// staffFlags say which server is asked, and by whom.
type staffFlags struct {
	URL        string `name:"url" default:"http://127.0.0.1:8080" placeholder:"URL" group:"Who asks" help:"The server's base, without /graphql."`
	StaffEmail string `placeholder:"EMAIL" group:"Who asks" help:"Logs in as this member of the staff, with the password in STAMPEDE_STAFF_PASSWORD."`
	Token      secret `placeholder:"TOKEN" group:"Who asks" help:"An access token, instead of logging in. Better in the environment, where other users do not see it."`
	APIKey     secret `name:"api-key" placeholder:"KEY" group:"Who asks" help:"An API key, instead of logging in. Better in the environment, too."`

	password secret
}

func (f *staffFlags) validate(wrong *faults) {
	f.password = secret(os.Getenv(staffPasswordEnv))
	if u, err := url.Parse(f.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		wrong.add("url", "%q is not an http or https URL", f.URL)
	}
	ways := 0
	for _, given := range [...]bool{f.StaffEmail != "", f.Token != "", f.APIKey != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		wrong.add("staff-email", "who asks must be said in one way: --staff-email with the password in %s, or an access token in %s_TOKEN, or an API key in %s_API_KEY", staffPasswordEnv, envPrefix, envPrefix)
	case f.StaffEmail == "":
	case f.password == "":
		wrong.add("staff-email", "needs the password in %s", staffPasswordEnv)
	default:
		if _, err := mail.ParseAddress(f.StaffEmail); err != nil {
			wrong.add("staff-email", "%q is not an e-mail address", f.StaffEmail)
		}
	}
}

// client asks the server as the staff member, and logs in again when the token ends.
func (f *staffFlags) client(ctx context.Context, connections int) (*shop.Client, error) {
	c := shop.NewClient(f.URL, string(f.Token))
	c.HTTP, c.APIKey = shop.NewHTTP(connections), string(f.APIKey)
	if f.StaffEmail == "" {
		return c, nil
	}
	logIn := func(ctx context.Context) (string, error) {
		return shop.NewClient(f.URL, "").LogIn(ctx, f.StaffEmail, string(f.password))
	}
	var err error
	if c.Token, err = logIn(ctx); err != nil {
		return nil, err
	}
	c.Renew = logIn
	return c, nil
}

const (
	maxImportConcurrency = 256
	formatAuto           = "auto"
)

// importProductsCmd makes the shop's products what a file says.
type importProductsCmd struct {
	staffFlags
	File        string `arg:"" help:"The file: JSON Lines or CSV. '-' reads standard input."`
	Format      string `default:"auto" placeholder:"FORMAT" group:"Import" help:"jsonl, csv, or auto: by the file's name, and jsonl for standard input."`
	DryRun      bool   `group:"Import" help:"Check the file and say what would be done, and do nothing."`
	SetStock    bool   `group:"Import" help:"Also set the stock of SKUs that are there. Otherwise the file's stock is for new ones only."`
	Concurrency int    `default:"128" placeholder:"N" group:"Import" help:"Requests at once, each with up to ten products."`
	JSON        bool   `name:"json" group:"Import" help:"Print the result as one JSON object on the last line."`
}

// Validate lists everything that is wrong with the configuration.
func (c *importProductsCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	checkCount(&wrong, "concurrency", c.Concurrency, maxImportConcurrency)
	checkFormat(&wrong, c.Format, c.File)
	return wrong
}

func checkFormat(wrong *faults, format, file string) {
	checkOneOf(wrong, "format", format, formatAuto, exchange.JSONLines, exchange.CSV)
	if format == formatAuto && file != "-" && exchange.FormatOf(file) == "" {
		wrong.add("format", "%q does not tell: name it .jsonl or .csv, or give jsonl or csv here", file)
	}
}

func formatFor(format, file string) string {
	if format != formatAuto {
		return format
	}
	if byName := exchange.FormatOf(file); byName != "" {
		return byName
	}
	return exchange.JSONLines
}

// Run checks the whole file before it sends any of it.
func (c *importProductsCmd) Run(ctx context.Context, std streams) error {
	if c.JSON {
		std.out, std.json = std.err, std.out
	}
	records, err := c.read(std)
	if err != nil {
		return err
	}
	client, err := c.client(ctx, c.Concurrency)
	if err != nil {
		return err
	}
	start := time.Now()
	im := &exchange.Importer{Caller: client, Run: randomHex(8), Concurrency: c.Concurrency, DryRun: c.DryRun, SetStock: c.SetStock}
	shown := newProgress(std.err, "products imported", "products", len(records))
	showing, stop := context.WithCancel(ctx)
	shownAll := make(chan struct{})
	go func() {
		defer close(shownAll)
		shown.follow(showing, im.Done)
	}()
	summary, err := im.Import(ctx, records)
	stop()
	<-shownAll
	shown.finish(im.Done())
	return errors.Join(c.report(std, summary, time.Since(start)), err)
}

func (c *importProductsCmd) read(std streams) ([]*exchange.Record, error) {
	in := std.in
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	records, wrong, err := exchange.Read(in, formatFor(c.Format, c.File))
	for _, one := range wrong {
		fmt.Fprintf(std.err, "%s: %v\n", c.File, one)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w; nothing was imported", c.File, err)
	case len(wrong) > 0:
		return nil, fmt.Errorf("%s: %d products are not right; nothing was imported", c.File, len(wrong))
	}
	return records, nil
}

func (c *importProductsCmd) report(std streams, s *exchange.Summary, took time.Duration) error {
	for _, one := range s.Wrong {
		fmt.Fprintf(std.err, "%s: %v\n", c.File, one)
	}
	would := ""
	if c.DryRun {
		would = " would be"
	}
	fmt.Fprintf(std.out, "%d products%s created, %d updated, %d unchanged; stock of %d SKUs set; %d refused; %.1f s\n",
		s.Created, would, s.Updated, s.Unchanged, s.StockSet, s.Refused, took.Seconds())
	if std.json != nil {
		body, err := json.Marshal(struct {
			*exchange.Summary
			DryRun  bool    `json:"dryRun"`
			Seconds float64 `json:"seconds"`
		}{s, c.DryRun, took.Seconds()})
		if err != nil {
			return err
		}
		fmt.Fprintln(std.json, string(body))
	}
	if s.Refused > 0 {
		return fmt.Errorf("%s: the shop refused %d changes; the others are done, and the same file can be imported again", c.File, s.Refused)
	}
	return nil
}

// exportProductsCmd writes the shop's products in the formats that import reads.
type exportProductsCmd struct {
	staffFlags
	File   string `arg:"" optional:"" default:"-" help:"The file to be written; '-' writes standard output."`
	Format string `default:"auto" placeholder:"FORMAT" group:"Export" help:"jsonl, csv, or auto: by the file's name, and jsonl for standard output."`
}

// Validate lists everything that is wrong with the configuration.
func (c *exportProductsCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	checkFormat(&wrong, c.Format, c.File)
	return wrong
}

// Run writes the file whole or not at all.
func (c *exportProductsCmd) Run(ctx context.Context, std streams) error {
	client, err := c.client(ctx, 1)
	if err != nil {
		return err
	}
	records, err := exchange.Export(ctx, client, func(int) {})
	if err != nil {
		return err
	}
	format := formatFor(c.Format, c.File)
	if c.File == "-" {
		return exchange.Write(std.out, format, records)
	}
	if err := replaceFile(c.File, func(out io.Writer) error { return exchange.Write(out, format, records) }); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%d products in %s\n", len(records), c.File)
	return nil
}

// replaceFile writes a file beside the old one and puts it in its place when it is whole.
func replaceFile(path string, write func(io.Writer) error) error {
	temporary := path + ".part"
	file, err := os.Create(temporary)
	if err != nil {
		return err
	}
	err = errors.Join(write(file), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, ignoreGone(os.Remove(temporary)))
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
