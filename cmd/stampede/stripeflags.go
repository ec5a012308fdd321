package main

import (
	"net/url"
	"os"
	"strings"
)

// Secrets of --payments stripe, where they are not in files. They are not flags:
// command lines can be read by everyone on the machine.
const (
	stripeKeyEnv           = envPrefix + "_STRIPE_KEY"
	stripeWebhookSecretEnv = envPrefix + "_STRIPE_WEBHOOK_SECRET"
)

// maxSecretBytes bounds a secret's file.
const maxSecretBytes = 4096

// stripeFlags are what Stripe needs.
type stripeFlags struct {
	StripeKeyFile           string `placeholder:"FILE" group:"Shop" help:"With --payments stripe: the file that has the secret API key; or it is in STAMPEDE_STRIPE_KEY."`
	StripeWebhookSecretFile string `placeholder:"FILE" group:"Shop" help:"With --payments stripe: the file that has the signing secret of the webhook at /webhooks/stripe; or it is in STAMPEDE_STRIPE_WEBHOOK_SECRET."`
	StripeReturnURL         string `name:"stripe-return-url" placeholder:"URL" group:"Shop" help:"With --payments stripe: the page that shoppers come back to when they have confirmed a payment at their bank."`
	StripeAPIURL            string `name:"stripe-api-url" hidden:"" help:"Another address of Stripe's API, for tests."`

	stripeKey, stripeWebhookSecret secret
	stripeFaults                   faults
}

// readSecrets reads what the files and the environment hold.
func (f *stripeFlags) readSecrets() {
	f.stripeFaults = nil
	f.stripeKey = secretOf(&f.stripeFaults, "stripe-key-file", f.StripeKeyFile, stripeKeyEnv)
	f.stripeWebhookSecret = secretOf(&f.stripeFaults, "stripe-webhook-secret-file", f.StripeWebhookSecretFile, stripeWebhookSecretEnv)
}

// secretOf is the file's contents, else the variable's.
func secretOf(wrong *faults, flag, file, variable string) secret {
	if file == "" {
		return secret(os.Getenv(variable))
	}
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxSecretBytes {
		wrong.add(flag, "%q has more than %d bytes: it is no secret's file", file, maxSecretBytes)
		return ""
	}
	contents, err := os.ReadFile(file)
	if err != nil {
		wrong.add(flag, "%q cannot be read: %v", file, err)
		return ""
	}
	return secret(strings.TrimSpace(string(contents)))
}

func (f *stripeFlags) validate(wrong *faults, used bool) {
	if !used {
		for _, one := range []struct{ flag, value string }{
			{"stripe-key-file", f.StripeKeyFile},
			{"stripe-webhook-secret-file", f.StripeWebhookSecretFile},
			{"stripe-return-url", f.StripeReturnURL},
			{"stripe-api-url", f.StripeAPIURL},
		} {
			if one.value != "" {
				wrong.add(one.flag, "is for --payments stripe only")
			}
		}
		return
	}
	*wrong = append(*wrong, f.stripeFaults...)
	if f.StripeKeyFile == "" && f.stripeKey == "" {
		wrong.add("stripe-key-file", "is needed with --payments stripe, or the key in %s", stripeKeyEnv)
	}
	if f.StripeWebhookSecretFile == "" && f.stripeWebhookSecret == "" {
		wrong.add("stripe-webhook-secret-file", "is needed with --payments stripe, or the secret in %s", stripeWebhookSecretEnv)
	}
	if !isWebURL(f.StripeReturnURL) {
		wrong.add("stripe-return-url", "%q is not a page such as https://shop.example/orders", f.StripeReturnURL)
	}
	if f.StripeAPIURL != "" && !isWebURL(f.StripeAPIURL) {
		wrong.add("stripe-api-url", "%q is not an address such as http://127.0.0.1:12111", f.StripeAPIURL)
	}
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}
