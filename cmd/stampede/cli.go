package main

// What the command line is made of: the sub-commands, and reading flags and
// environment so that every wrong value is reported at once. What the flags
// mean is in flags.go and with each command.

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// envPrefix starts the environment variable of every flag: --data-dir is
// STAMPEDE_DATA_DIR.
const envPrefix = "STAMPEDE"

// command is a sub-command: its fields are its configuration, read once.
type command interface {
	// Validate lists everything that is wrong with the configuration.
	Validate() faults
	Run(ctx context.Context, std streams) error
}

// cli is the command line's grammar.
type cli struct {
	Dev    devCmd   `cmd:"" help:"A whole shop with nothing else installed: embedded store and broker, sample catalogue, playground."`
	Serve  serveCmd `cmd:"" help:"A node. Embedded store and broker unless --mongo and --kafka are given."`
	Demo   demoCmd  `cmd:"" help:"A flash sale against a server of its own over HTTP, then the proof that nothing was oversold or lost."`
	Bench  benchCmd `cmd:"" help:"The load generator alone, against any URL."`
	Import struct {
		Products importProductsCmd `cmd:"" help:"Make the shop's products what a file says: JSON Lines or CSV."`
	} `cmd:"" help:"Bring a file into the shop."`
	Export struct {
		Products exportProductsCmd `cmd:"" help:"Write the shop's products in the formats that import reads."`
	} `cmd:"" help:"Write what the shop has to a file."`
	Member struct {
		List  memberListCmd  `cmd:"" help:"Who is in the cluster, and what each has in memory."`
		Drain memberDrainCmd `cmd:"" help:"Have a member hand over what it has and end; nobody notices."`
	} `cmd:"" help:"The nodes of a cluster."`
	Events struct {
		Replay eventsReplayCmd `cmd:"" help:"Publish events again, with the same ids, for a consumer that has lost them."`
	} `cmd:"" help:"Look after the published events."`
	DevCluster devClusterCmd `cmd:"" hidden:"" help:"A cluster on this machine, for make cluster."`
	Journal    struct {
		Show   journalShowCmd   `cmd:"" help:"Print the records of one actor as JSON lines. What it prints is as confidential as the store."`
		Verify journalVerifyCmd `cmd:"" help:"Check every record: checksums, gaps, versions, places, and snapshots against what the records lead to."`
	} `cmd:"" help:"Look at the journal in the store itself: in the data directory, while no node runs, or in MongoDB."`
	Health  healthCmd `cmd:"" help:"Ask a node whether it is ready; exit status 1 if it is not."`
	Secrets struct {
		Init secretsInitCmd `cmd:"" help:"Make what the nodes of a new cluster share: certificate, signing key, the operator's password."`
	} `cmd:"" help:"The secrets of a cluster on one machine."`
	Config struct {
		Check configCheckCmd `cmd:"" help:"Print the configuration that serve would run with, and all of its faults."`
	} `cmd:"" help:"Look at the configuration."`
	Version versionCmd `cmd:"" help:"Print which build this is."`
}

// parsed is a command line that was understood.
type parsed struct {
	name    string
	command command
	// helped: the help was printed and there is nothing to run.
	helped bool
}

// setting is a flag as it is in force.
type setting struct {
	name  string
	value any
	// source is "flag", "default", or the environment variable's name.
	source string
	hidden bool
}

const description = `A commerce cluster for flash sales: the last unit is sold once, and nothing acknowledged is lost.

Start with "stampede dev" for a shop to look at, or "stampede demo --crash" for the proof.
Every flag has an environment variable, STAMPEDE_ and its name in capitals; a flag wins.`

// parse reads the command line and the environment. Its error is a faults when
// values are wrong, all of them at once.
func parse(args []string, std streams) (*parsed, error) {
	grammar := &cli{}
	values := &valueFaults{byValue: map[*kong.Value]*valueFault{}}
	helped := false
	parser, err := kong.New(grammar,
		kong.Name("stampede"),
		kong.Description(description),
		kong.DefaultEnvars(envPrefix),
		kong.Writers(std.out, std.err),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: helpWidth}),
		kong.ValueFormatter(describeFlag),
		kong.KindMapper(reflect.Int, intMapper{values}),
		kong.KindMapper(reflect.Float64, floatMapper{values}),
		kong.KindMapper(reflect.Bool, boolMapper{values}),
		kong.TypeMapper(reflect.TypeOf(time.Duration(0)), durationMapper{values}),
	)
	if err != nil {
		return nil, fmt.Errorf("command line grammar: %w", err)
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "--version":
		args = []string{"version"}
	}
	kctx, err := parser.Parse(args)
	if helped {
		return &parsed{helped: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; \"stampede --help\" and \"stampede <command> --help\" list what there is", err)
	}
	selected, ok := kctx.Selected().Target.Addr().Interface().(command)
	if !ok {
		return nil, fmt.Errorf("%s is not a command by itself; see \"stampede %s --help\"", kctx.Command(), kctx.Command())
	}
	settings := inForce(kctx)
	unread := values.of(kctx)
	wrong := slices.Clone(unread)
	for _, one := range selected.Validate() {
		if !unread.has(one.flag) { // a value that is not there cannot be judged
			wrong = append(wrong, one)
		}
	}
	settings.complete(wrong)
	name := commandName(kctx)
	if check, ok := selected.(*configCheckCmd); ok {
		check.settings, check.faults = settings, wrong
		return &parsed{name: name, command: check}, nil
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &parsed{name: name, command: selected}, nil
}

// commandName is the command without the arguments that it takes.
func commandName(kctx *kong.Context) string {
	name, _, _ := strings.Cut(kctx.Command(), " <")
	return name
}

// helpWidth is how wide the help gets on a wide terminal.
const helpWidth = 120

// describeFlag is a flag's line in the help: what it does, its default, and its
// environment variable.
func describeFlag(value *kong.Value) string {
	var more []string
	if value.Default != "" {
		more = append(more, "default "+value.Default)
	}
	if len(value.Tag.Envs) > 0 {
		more = append(more, "$"+value.Tag.Envs[0])
	}
	if len(more) == 0 {
		return value.Help
	}
	return value.Help + " (" + strings.Join(more, ", ") + ")"
}

// settings are a command's flags in order.
type settings []setting

// inForce lists the selected command's flags, where each value came from.
func inForce(kctx *kong.Context) settings {
	onCommandLine := map[*kong.Value]bool{}
	for _, step := range kctx.Path {
		if step.Flag != nil {
			onCommandLine[step.Flag.Value] = true
		}
	}
	var all settings
	for _, flag := range kctx.Flags() {
		if flag.Name == "help" {
			continue
		}
		s := setting{name: flag.Name, value: flag.Target.Interface(), source: fromDefault, hidden: flag.Hidden}
		if env := firstSet(flag.Tag.Envs); env != "" {
			s.source = env
		}
		if onCommandLine[flag.Value] {
			s.source = fromFlag
		}
		all = append(all, s)
	}
	return all
}

// Where a value can come from, other than an environment variable.
const (
	fromDefault = "default"
	fromFlag    = "flag"
)

// complete says where the wrong values came from, and puts the faults in the
// order in which the help lists the flags.
func (s settings) complete(wrong faults) {
	place := map[string]int{}
	for i, one := range s {
		place[one.name] = i
	}
	for i, one := range wrong {
		if n, ok := place[one.flag]; ok && s[n].source != fromDefault && s[n].source != fromFlag {
			wrong[i].source = s[n].source
		}
	}
	slices.SortStableFunc(wrong, func(a, b fault) int { return cmp.Compare(place[a.flag], place[b.flag]) })
}

func firstSet(names []string) string {
	for _, name := range names {
		if _, ok := os.LookupEnv(name); ok {
			return name
		}
	}
	return ""
}

// valueFaults collects values that could not be read, which kong would report
// one at a time. A flag's value from the command line replaces the one from
// the environment, fault and all.
type valueFaults struct {
	byValue map[*kong.Value]*valueFault
}

type valueFault struct{ commandLine, environment string }

// record keeps the problem (empty: none) of a value that was just read.
func (v *valueFaults) record(value *kong.Value, target reflect.Value, problem string) {
	f := v.byValue[value]
	if f == nil {
		f = &valueFault{}
		v.byValue[value] = f
	}
	// kong reads defaults and the environment straight into the field, and the
	// command line into a value of its own first.
	if target.CanAddr() && value.Target.CanAddr() && target.Addr().Pointer() == value.Target.Addr().Pointer() {
		f.environment = problem
		return
	}
	f.commandLine = problem
}

// of returns the faults of the selected command's flags.
func (v *valueFaults) of(kctx *kong.Context) faults {
	onCommandLine := map[*kong.Value]bool{}
	for _, step := range kctx.Path {
		if step.Flag != nil {
			onCommandLine[step.Flag.Value] = true
		}
	}
	var wrong faults
	for _, flag := range kctx.Flags() {
		f := v.byValue[flag.Value]
		if f == nil {
			continue
		}
		problem := f.environment
		if onCommandLine[flag.Value] {
			problem = f.commandLine
		}
		if problem != "" {
			wrong.add(flag.Name, "%s", problem)
		}
	}
	return wrong
}

type intMapper struct{ faults *valueFaults }

func (m intMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("number", &text); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		m.faults.record(ctx.Value, target, fmt.Sprintf("%q is not a whole number", text))
		return nil //nolint:nilerr // reported with all the others
	}
	m.faults.record(ctx.Value, target, "")
	target.SetInt(int64(n))
	return nil
}

type floatMapper struct{ faults *valueFaults }

func (m floatMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("number", &text); err != nil {
		return err
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		m.faults.record(ctx.Value, target, fmt.Sprintf("%q is not a number", text))
		return nil //nolint:nilerr // recorded: all faults are listed together
	}
	m.faults.record(ctx.Value, target, "")
	target.SetFloat(n)
	return nil
}

type durationMapper struct{ faults *valueFaults }

func (m durationMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		m.faults.record(ctx.Value, target, fmt.Sprintf("%q is not a duration such as 30s or 2m", text))
		return nil //nolint:nilerr // reported with all the others
	}
	m.faults.record(ctx.Value, target, "")
	target.SetInt(int64(d))
	return nil
}

type boolMapper struct{ faults *valueFaults }

// IsBool lets the flag stand alone.
func (boolMapper) IsBool() bool { return true }

func (m boolMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		m.faults.record(ctx.Value, target, "")
		target.SetBool(true)
		return nil
	}
	text := ctx.Scan.Pop().String()
	b, err := strconv.ParseBool(strings.ToLower(text))
	if err != nil {
		m.faults.record(ctx.Value, target, fmt.Sprintf("%q is neither true nor false", text))
		return nil //nolint:nilerr // reported with all the others
	}
	m.faults.record(ctx.Value, target, "")
	target.SetBool(b)
	return nil
}
