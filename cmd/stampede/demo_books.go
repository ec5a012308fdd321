package main

// What the demo asks of the payment provider of its own server.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"stampede/cmd/stampede/internal/proof"
	"stampede/payments"
)

const (
	// maxBooksBytes bounds the books: those of all payments that a simulator remembers.
	maxBooksBytes = 32 << 20
	// booksSettleFor is how long the provider may take to hear of the last capture
	// and the last authorization to let go of, for which no answer has waited.
	booksSettleFor = 20 * time.Second
	booksPoll      = 100 * time.Millisecond
)

// books are the payment provider's, which is part of the server: one that was
// killed has taken with it what it had.
func (s *demoServer) books(ctx context.Context) (*proof.Books, error) {
	s.mu.Lock()
	from, crashes := s.child.Admin+payments.BooksPath, s.crashes
	s.mu.Unlock()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the payment provider for its books: %w", err)
	}
	defer answer.Body.Close()
	var said payments.Statement
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the payment provider for its books: %s", answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBooksBytes)).Decode(&said); err != nil {
		return nil, fmt.Errorf("the payment provider's books: %w", err)
	}
	books := &proof.Books{Orders: make(map[string]proof.Book, len(said.Orders)), Partial: said.Partial || crashes > 0}
	for id, b := range said.Orders {
		books.Orders[id] = proof.Book(b)
	}
	return books, nil
}

// readBooks puts the payment provider's books into the history, when they are
// what the orders come to, or have had the time to become it.
func readBooks(ctx context.Context, s demoHost, history *proof.Trade) error {
	poll := time.NewTicker(booksPoll)
	defer poll.Stop()
	for deadline := time.Now().Add(booksSettleFor); ; {
		books, err := s.books(ctx)
		if err != nil {
			return err
		}
		history.Books = books
		if len(history.BooksDiffer()) == 0 || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
