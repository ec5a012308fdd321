// Package secrets makes what the nodes of a new cluster share: an authority and
// a certificate for the ports between them, a key that signs access tokens, and
// the operator's password. It is for clusters on one machine, in containers or
// without; a production cluster gets these from its own authority and vault.
package secrets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stampede/gateway/auth"
)

// Files of a folder of secrets.
const (
	caFile       = "cluster-ca.pem"
	certFile     = "cluster-cert.pem"
	keyFile      = "cluster-key.pem"
	signingKeys  = "signing-keys"
	passwordFile = "admin-password"

	fileMode      = 0o600
	directoryMode = 0o700
	passwordBytes = 15
	maxFileBytes  = 64 << 10
)

// Validity of a certificate: how long it is made for, and how much of that must
// be left when nodes are started with it.
const (
	ValidFor = 365 * 24 * time.Hour
	leastFor = 24 * time.Hour
)

// Set is a folder of secrets, by the names of its files.
type Set struct {
	CA, Cert, Key, SigningKeys, Password string
	// Made are the files that were not there before.
	Made []string
	// Until is how long the certificate is valid.
	Until time.Time
}

// ErrCertificate: the folder's certificate is of no use any more.
var ErrCertificate = errors.New("the cluster's certificate cannot be used")

// Ensure makes what the folder lacks and leaves alone what it has. serverName is
// what the certificate names: all nodes share it, so that there can be any
// number of them at any address. The authority's own key is forgotten: nobody
// can become a node later but with this certificate.
func Ensure(directory, serverName string, now time.Time) (*Set, error) {
	s := &Set{
		CA: filepath.Join(directory, caFile), Cert: filepath.Join(directory, certFile), Key: filepath.Join(directory, keyFile),
		SigningKeys: filepath.Join(directory, signingKeys), Password: filepath.Join(directory, passwordFile),
	}
	if err := os.MkdirAll(directory, directoryMode); err != nil {
		return nil, fmt.Errorf("folder of secrets: %w", err)
	}
	if err := s.ensureCertificate(serverName, now); err != nil {
		return nil, err
	}
	_, before := os.Stat(s.SigningKeys)
	if _, err := auth.LoadKeys(s.SigningKeys); err != nil {
		return nil, err
	}
	if errors.Is(before, os.ErrNotExist) {
		s.Made = append(s.Made, s.SigningKeys)
	}
	if exists(s.Password) {
		return s, nil
	}
	return s, s.write(s.Password, []byte(newPassword()+"\n"))
}

func (s *Set) ensureCertificate(serverName string, now time.Time) error {
	there := 0
	for _, file := range []string{s.CA, s.Cert, s.Key} {
		if exists(file) {
			there++
		}
	}
	switch there {
	case 0:
		return s.makeCertificate(serverName, now)
	case 3:
		return s.checkCertificate(serverName, now)
	}
	return fmt.Errorf("%w: of %s, %s and %s only some are there; remove them, and they are made anew", ErrCertificate, s.CA, s.Cert, s.Key)
}

// makeCertificate writes the authority last: a folder that has it is whole.
func (s *Set) makeCertificate(serverName string, now time.Time) error {
	authority := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Stampede cluster authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ValidFor),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey, caErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, keyErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(caErr, keyErr); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	node := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	caDER, caErr := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	nodeDER, nodeErr := x509.CreateCertificate(rand.Reader, node, authority, key.Public(), caKey)
	pkcs8, keyErr := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(caErr, nodeErr, keyErr); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	s.Until = node.NotAfter
	for _, one := range []struct {
		file, kind string
		der        []byte
	}{{s.Key, "PRIVATE KEY", pkcs8}, {s.Cert, "CERTIFICATE", nodeDER}, {s.CA, "CERTIFICATE", caDER}} {
		if err := s.write(one.file, pem.EncodeToMemory(&pem.Block{Type: one.kind, Bytes: one.der})); err != nil {
			return err
		}
	}
	return nil
}

// checkCertificate holds a certificate that was there to what nodes will hold it to.
func (s *Set) checkCertificate(serverName string, now time.Time) error {
	certPEM, err := readFile(s.Cert)
	if err != nil {
		return err
	}
	caPEM, err := readFile(s.CA)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(certPEM)
	roots := x509.NewCertPool()
	if block == nil || !roots.AppendCertsFromPEM(caPEM) {
		return fmt.Errorf("%w: %s or %s is no PEM file", ErrCertificate, s.Cert, s.CA)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCertificate, s.Cert, err)
	}
	s.Until = cert.NotAfter
	_, err = cert.Verify(x509.VerifyOptions{DNSName: serverName, Roots: roots, CurrentTime: now.Add(leastFor), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("%w: %w; end the nodes, remove %s, %s and %s, and they are made anew", ErrCertificate, err, s.CA, s.Cert, s.Key)
	}
	return nil
}

// write makes a file whole or not at all, for its owner's eyes only.
func (s *Set) write(file string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(fileMode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write secret: %w", err), os.Remove(f.Name()))
	}
	s.Made = append(s.Made, file)
	return nil
}

// ReadPassword is the operator's password.
func (s *Set) ReadPassword() (string, error) {
	content, err := readFile(s.Password)
	return strings.TrimSpace(string(content)), err
}

func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxFileBytes {
		return nil, fmt.Errorf("read secret: %s has more than %d bytes", file, maxFileBytes)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	return content, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

func newPassword() string {
	var b [passwordBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}
