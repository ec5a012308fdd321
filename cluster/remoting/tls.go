package remoting

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Files are PEM files: this node's certificate, its key, and the authority of
// the cluster, which every node's certificate must come from. Whoever has one
// is a node; nobody else is let in. The certificate must name the host that the
// node is reached by, or Config.ServerName, and be fit for both ends of a
// connection.
type Files struct{ Cert, Key, CA string }

func (f Files) none() bool { return f == Files{} }

// ends are the two ends of a connection.
type ends struct {
	client, server grpccredentials.TransportCredentials
}

// errNoTLS: what the node was told would let anyone on the network be a node.
var errNoTLS = errors.New("without TLS a node listens on loopback addresses only: " +
	"give --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca, or --cluster-insecure if the network keeps everyone else out")

func (c Config) credentials() (ends, error) {
	if c.TLS.none() {
		if !c.Insecure && !loopback(c.Listen) {
			return ends{}, fmt.Errorf("--cluster-listen %s: %w", c.Listen, errNoTLS)
		}
		return ends{insecure.NewCredentials(), insecure.NewCredentials()}, nil
	}
	if c.TLS.Cert == "" || c.TLS.Key == "" || c.TLS.CA == "" {
		return ends{}, errors.New("--cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca belong together: give all three")
	}
	pem, err := os.ReadFile(c.TLS.CA)
	if err != nil {
		return ends{}, fmt.Errorf("--cluster-tls-ca: %w", err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(pem) {
		return ends{}, fmt.Errorf("--cluster-tls-ca: %s holds no certificate", c.TLS.CA)
	}
	own := &certificate{files: c.TLS, logger: c.Logger}
	if _, err := own.current(); err != nil {
		return ends{}, fmt.Errorf("--cluster-tls-cert, --cluster-tls-key: %w", err)
	}
	return ends{
		client: grpccredentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: authority, ServerName: c.ServerName, // empty: the host that is connected to
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.current() },
		}),
		server: grpccredentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority,
			// A resumed session would outlive the certificate that opened it.
			SessionTicketsDisabled: true,
			GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.current() },
		}),
	}, nil
}

func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// certificate is this node's own, read again when its files have changed: so
// it is renewed without a restart.
type certificate struct {
	files  Files
	logger *slog.Logger

	mu   sync.Mutex
	pair *tls.Certificate
	read [2]time.Time // when the files were changed that pair was read from
}

func (c *certificate) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed [2]time.Time
	for i, file := range []string{c.files.Cert, c.files.Key} {
		info, err := os.Stat(file)
		if err != nil {
			return c.keep(err)
		}
		changed[i] = info.ModTime()
	}
	if c.pair != nil && changed == c.read {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return c.keep(err)
	}
	c.pair, c.read = &pair, changed
	return c.pair, nil
}

// keep goes on with the certificate that there is: of two files that are being
// replaced, one may be new and the other old.
func (c *certificate) keep(err error) (*tls.Certificate, error) {
	if c.pair == nil {
		return nil, err
	}
	c.logger.Warn("the node's new certificate cannot be read; the old one is used", "error", err)
	return c.pair, nil
}
