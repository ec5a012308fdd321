package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// wire is one keep-alive HTTP/1.1 connection that posts JSON. It exists because
// the generator shares its machine with the server: net/http's client costs
// several times the CPU of what is measured. It knows just the HTTP that an API
// answers with: content-length and chunked bodies, no redirects, no upgrades.
//
// A wire belongs to one goroutine. What it returns is valid until its next call.
type wire struct {
	// nodes are where requests can go, at is where they go now.
	nodes   []target
	at      int
	timeout time.Duration

	conn   net.Conn
	stop   func() bool // ends the watch on the context
	reader *bufio.Reader
	out    []byte
	body   []byte
}

// target is where requests go, taken apart once.
type target struct {
	address string // host:port
	host    string // the Host header
	path    string
	tls     *tls.Config // nil: plain
}

// Bounds of what is read.
const (
	readBufferBytes = 16 << 10
	maxBodyBytes    = 16 << 20
	maxHeaderLines  = 100
)

var errHTTP = errors.New("malformed HTTP answer")

// parseTarget takes a base URL apart.
func parseTarget(base string) (target, error) {
	u, err := url.Parse(base)
	if err != nil {
		return target{}, err
	}
	if u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return target{}, fmt.Errorf("%q is not an http or https URL", base)
	}
	t := target{address: u.Host, host: u.Host, path: strings.TrimSuffix(u.EscapedPath(), "/") + "/graphql"}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
		t.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	if u.Port() == "" {
		t.address = net.JoinHostPort(u.Hostname(), port)
	}
	return t, nil
}

// answer is an HTTP response.
type answer struct {
	status int
	// after is the Retry-After header; 0: none.
	after time.Duration
	body  []byte
}

// post sends one request and reads its answer. After an error the connection
// is closed and the next call dials again.
func (w *wire) post(ctx context.Context, token string, body []byte) (answer, error) {
	if w.conn == nil {
		if err := w.dial(ctx); err != nil {
			w.turn()
			return answer{}, err
		}
	}
	if err := w.conn.SetDeadline(time.Now().Add(w.timeout)); err != nil {
		w.close()
		return answer{}, err
	}
	w.out = w.appendRequest(w.out[:0], token, body)
	if _, err := w.conn.Write(w.out); err != nil {
		w.close()
		return answer{}, err
	}
	got, keep, err := w.read()
	if err != nil || !keep || (got.status == http.StatusServiceUnavailable && len(w.nodes) > 1) {
		w.close()
	}
	return got, err
}

// turn has the next connection go to another node, if there is one.
func (w *wire) turn() { w.at = (w.at + 1) % len(w.nodes) }

func (w *wire) target() *target { return &w.nodes[w.at] }

func (w *wire) appendRequest(dst []byte, token string, body []byte) []byte {
	dst = append(dst, "POST "...)
	dst = append(dst, w.target().path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, w.target().host...)
	dst = append(dst, "\r\nContent-Type: application/json\r\nAccept: application/json\r\n"...)
	if token != "" {
		dst = append(dst, "Authorization: Bearer "...)
		dst = append(dst, token...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

func (w *wire) dial(ctx context.Context) error {
	dialer := net.Dialer{Timeout: w.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", w.target().address)
	if err != nil {
		return err
	}
	if w.target().tls != nil {
		secured := tls.Client(conn, w.target().tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		conn = secured
	}
	w.conn = conn
	// A request under way ends with its context, not with its timeout.
	w.stop = context.AfterFunc(ctx, func() { conn.Close() })
	if w.reader == nil {
		w.reader = bufio.NewReaderSize(conn, readBufferBytes)
	}
	w.reader.Reset(conn)
	return nil
}

func (w *wire) close() {
	if w.conn == nil {
		return
	}
	w.stop()
	w.conn.Close()
	w.conn = nil
	w.turn()
}

// read reads one response and reports whether the connection stays open.
func (w *wire) read() (got answer, keep bool, err error) {
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return got, false, err
	}
	// "HTTP/1.1 200 OK"
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return got, false, errHTTP
	}
	if got.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return got, false, errHTTP
	}
	head, err := w.readHeader(&got)
	if err != nil {
		return got, false, err
	}
	switch {
	case head.chunked:
		err = w.readChunks()
	case head.length >= 0:
		err = w.readBody(head.length)
	case head.close:
		w.body, err = io.ReadAll(io.LimitReader(w.reader, maxBodyBytes))
	default:
		return got, false, fmt.Errorf("%w: neither length nor chunks", errHTTP)
	}
	got.body = w.body
	return got, !head.close, err
}

// header is what matters of a response's header.
type header struct {
	length  int
	chunked bool
	close   bool
}

func (w *wire) readHeader(got *answer) (header, error) {
	head := header{length: -1}
	for range maxHeaderLines {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return head, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return head, nil
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return head, errHTTP
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if head.length, err = strconv.Atoi(string(value)); err != nil || head.length < 0 {
				return head, errHTTP
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			head.chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("connection")):
			head.close = bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, []byte("retry-after")):
			if seconds, err := strconv.Atoi(string(value)); err == nil && seconds >= 0 {
				got.after = time.Duration(seconds) * time.Second
			}
		}
	}
	return head, fmt.Errorf("%w: more than %d header lines", errHTTP, maxHeaderLines)
}

func (w *wire) readBody(length int) error {
	if length > maxBodyBytes {
		return fmt.Errorf("%w: a body of %d bytes", errHTTP, length)
	}
	if cap(w.body) < length {
		w.body = make([]byte, length)
	}
	w.body = w.body[:length]
	_, err := io.ReadFull(w.reader, w.body)
	return err
}

func (w *wire) readChunks() error {
	w.body = w.body[:0]
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(";"))
		n, err := strconv.ParseUint(string(size), 16, 31)
		if err != nil || len(w.body)+int(n) > maxBodyBytes {
			return errHTTP
		}
		start := len(w.body)
		w.body = append(w.body, make([]byte, n)...)
		if _, err := io.ReadFull(w.reader, w.body[start:]); err != nil {
			return err
		}
		end, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(end, "\r\n")) != 0 {
			return errHTTP // also refuses trailers, which no API sends
		}
		if n == 0 {
			return nil
		}
	}
}
