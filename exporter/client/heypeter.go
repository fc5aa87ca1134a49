// Package heypeter sends a server's events to the exporter: in batches, in order, again after a failure, counted once.
//
// Copy this file; it needs Go 1.23 and nothing but the standard library. docs/clients.md shows how to use it. It reads
// the exporter's token: it belongs on servers and never into a browser.
package heypeter

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	mostInBatch   = 1000             // events that the exporter takes in one request
	batchBytes    = 512 * 1024       // half of what it takes
	eventBytes    = 32 * 1024        // of one event
	queueBytes    = 16 * 1024 * 1024 // of all that waits
	compressAbove = 8 * 1024         // below it gzip costs more time than it saves
	maxRoute      = 2000             // bytes; the exporter reads no more of a text
	retryMost     = 5 * time.Minute  // a longer Retry-After is shortened
	quiet         = time.Minute      // between two log lines of one kind
	mostLines     = 1000             // kinds of log lines
)

// ErrNotQueued says that a business event could not be queued.
var ErrNotQueued = errors.New("the event was not queued")

// Options are the settings of a client; empty ones are read from HEYPETER_URL, HEYPETER_TOKEN and HEYPETER_TOKEN_FILE.
type Options struct {
	URL, Token, TokenFile, Source     string
	BatchSize, QueueSize              int           // 200 and 10,000 events
	BatchDelay, Timeout, CloseTimeout time.Duration // 1 s, 10 s and 5 s
	BackoffBase, BackoffMost          time.Duration // 0.5 s and 30 s
	Logger                            *slog.Logger
}

// Event is one event. One with a known ID is not counted again.
type Event struct {
	Type    string    `json:"type"`
	Data    any       `json:"data"`
	ID      string    `json:"id,omitempty"`
	Source  string    `json:"source,omitempty"`
	Time    time.Time `json:"-"` // now, if it is zero
	TraceID string    `json:"trace_id,omitempty"`
}

// Outcome is the fate of an event: "counted", "rejected" (and why), or "undelivered": it was not counted, for a reason
// that lies outside it, and may be sent again with its ID.
type Outcome struct{ State, Reason, Field, Message string }

// Stats are numbers of events by outcome, of attempts, and of batches.
type Stats struct{ Sent, Duplicates, Rejected, Dropped, Retried, Batches, Queued int }

type entry struct {
	kind    string
	written []byte
	done    chan Outcome
}

// Client is a queue of events and the one goroutine that sends them.
type Client struct {
	options Options
	token   func() string
	http    *http.Client
	ctx     context.Context // ends when the client gives up
	giveUp  context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	queue   []entry
	bytes   int
	entered int
	settled int
	until   int // events to send without waiting for a full batch
	running bool
	closing bool
	stats   Stats
	said    map[string]time.Time
}

// New makes a client. Without an address or a token it drops telemetry and refuses business events.
func New(options Options) (*Client, error) {
	o := options
	first(&o.URL, os.Getenv("HEYPETER_URL"))
	if o.Token == "" && o.TokenFile == "" {
		o.Token, o.TokenFile = os.Getenv("HEYPETER_TOKEN"), os.Getenv("HEYPETER_TOKEN_FILE")
	}
	first(&o.BatchSize, 200)
	first(&o.QueueSize, 10_000)
	first(&o.BatchDelay, time.Second)
	first(&o.Timeout, 10*time.Second)
	first(&o.CloseTimeout, 5*time.Second)
	first(&o.BackoffBase, 500*time.Millisecond)
	first(&o.BackoffMost, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.BatchSize = min(o.BatchSize, mostInBatch)
	address, err := addressOf(o.URL)
	if err != nil {
		return nil, err
	}
	o.URL = address
	token, err := tokenReader(o.Token, o.TokenFile)
	if err != nil {
		return nil, err
	}
	ctx, giveUp := context.WithCancel(context.Background())
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the token goes nowhere else
	return &Client{
		options: o, token: token, ctx: ctx, giveUp: giveUp, changed: make(chan struct{}), said: map[string]time.Time{},
		http: &http.Client{Timeout: o.Timeout, CheckRedirect: refuse},
	}, nil
}

func first[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// Enabled says whether an address and a token are there.
func (c *Client) Enabled() bool { return c.options.URL != "" && c.token != nil }

// Track queues telemetry; it never blocks. If the queue is full, the event is dropped and counted as such.
func (c *Client) Track(kind string, data any) bool {
	return c.TrackEvent(Event{Type: kind, Data: data})
}

// TrackEvent is Track for an event with an ID, a time or a trace.
func (c *Client) TrackEvent(event Event) bool {
	made, err := c.entry(event)
	if err != nil {
		return c.drop("an event could not be written as JSON, or is too large")
	}
	if !c.Enabled() {
		return c.drop("set HEYPETER_URL and HEYPETER_TOKEN or HEYPETER_TOKEN_FILE")
	}
	c.mu.Lock()
	if c.closing || c.full() {
		closing := c.closing
		c.mu.Unlock()
		if closing {
			return c.drop("the client is closed")
		}
		return c.drop("the queue is full")
	}
	c.push(made)
	c.mu.Unlock()
	return true
}

// Send queues a business event, and waits while the queue is full; the channel gives its fate.
func (c *Client) Send(ctx context.Context, event Event) (<-chan Outcome, error) {
	made, err := c.entry(event)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotQueued, err)
	}
	if !c.Enabled() {
		return nil, fmt.Errorf("%w: set HEYPETER_URL and HEYPETER_TOKEN or HEYPETER_TOKEN_FILE", ErrNotQueued)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.full() && !c.closing {
		if err := c.wait(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotQueued, err)
		}
	}
	if c.closing {
		return nil, fmt.Errorf("%w: the client is closed", ErrNotQueued)
	}
	c.push(made)
	return made.done, nil
}

// Deliver sends events and waits until the fate of each is known, for rows of an outbox.
func (c *Client) Deliver(ctx context.Context, events []Event) ([]Outcome, error) {
	fates := make([]<-chan Outcome, 0, len(events))
	for _, event := range events {
		fate, err := c.Send(ctx, event)
		if err != nil {
			return nil, err
		}
		fates = append(fates, fate)
	}
	if err := c.Flush(ctx); err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(fates))
	for i, fate := range fates {
		outcomes[i] = <-fate
	}
	return outcomes, nil
}

// Flush sends what is queued now, and returns once the fate of all of it is known.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	target := c.entered
	c.until = target
	c.notify()
	for c.settled < target {
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close accepts no more events and sends the queue; what is not sent within CloseTimeout is dropped.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing = true
	c.notify()
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), c.options.CloseTimeout)
	defer cancel()
	err := c.Flush(ctx)
	c.giveUp()
	if err != nil {
		_ = c.Flush(context.Background()) // what is left is told to be undelivered
	}
	return err
}

// Stats returns the counts: sent, rejected, dropped and queued add up to all events.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Queued = c.entered - c.settled
	return stats
}

func (c *Client) entry(event Event) (entry, error) {
	if event.Time.IsZero() {
		event.Time = time.Now()
	}
	if event.Data == nil {
		event.Data = struct{}{}
	}
	first(&event.Source, c.options.Source)
	written, err := json.Marshal(struct {
		Event
		Time float64 `json:"time"`
	}{event, float64(event.Time.UnixMilli()) / 1000})
	if err == nil && len(written) > eventBytes {
		err = fmt.Errorf("an event has at most %d bytes", eventBytes)
	}
	return entry{event.Type, written, make(chan Outcome, 1)}, err
}

func (c *Client) full() bool { return len(c.queue) >= c.options.QueueSize || c.bytes >= queueBytes }

func (c *Client) push(made entry) {
	c.queue = append(c.queue, made)
	c.bytes += len(made.written)
	c.entered++
	if !c.running {
		c.running = true
		go c.run()
	}
	c.notify()
}

func (c *Client) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait lets others change the client, and returns after a change.
func (c *Client) wait(ctx context.Context) error {
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run sends one batch at a time, until it is settled, so that events are counted in order.
func (c *Client) run() {
	for {
		batch := c.take()
		if batch == nil {
			return
		}
		c.post(batch)
	}
}

func (c *Client) take() []entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 { // an idle client has no goroutine
		c.running = false
		return nil
	}
	due, cancel := context.WithTimeout(c.ctx, c.options.BatchDelay)
	defer cancel()
	for len(c.queue) < c.options.BatchSize && c.bytes < batchBytes && c.entered-len(c.queue) >= c.until {
		if c.wait(due) != nil {
			break
		}
	}
	number, size := 0, 0
	for number < min(len(c.queue), c.options.BatchSize) && (number == 0 || size+len(c.queue[number].written) <= batchBytes) {
		size += len(c.queue[number].written)
		number++
	}
	batch := append([]entry(nil), c.queue[:number]...)
	c.queue = append([]entry(nil), c.queue[number:]...)
	c.bytes -= size
	c.notify()
	return batch
}

func (c *Client) post(batch []entry) {
	id := newID() // the same for every attempt, so that the exporter recognises a retry
	for attempt := 0; ; attempt++ {
		if c.ctx.Err() != nil {
			c.finish(batch, all(len(batch), Outcome{State: "undelivered"}))
			return
		}
		status, pause, answer := c.exchange(id, batch)
		c.count(&c.stats.Batches, 1)
		switch {
		case status == http.StatusRequestEntityTooLarge && len(batch) > 1:
			middle := (len(batch) + 1) / 2
			c.post(batch[:middle])
			c.post(batch[middle:])
			return
		case !retryable(status):
			faults, duplicates := read(status, answer, len(batch))
			c.count(&c.stats.Duplicates, duplicates)
			c.finish(batch, faults)
			return
		}
		c.count(&c.stats.Retried, 1)
		c.say(map[bool]string{true: "the exporter cannot be reached", false: fmt.Sprintf("the exporter answered %d", status)}[status == 0])
		// Full jitter, on top of what the exporter asks for: clients that failed together must not return together.
		most := min(c.options.BackoffMost, c.options.BackoffBase<<min(attempt, 20))
		select {
		case <-time.After(pause + time.Duration(mrand.Float64()*float64(most))):
		case <-c.ctx.Done():
		}
	}
}

// retryable: 0 is no answer at all; 502 and 504 mean that a proxy could not reach the exporter.
func retryable(status int) bool {
	return status == 0 || status == 408 || status == 429 || status == 502 || status == 503 || status == 504
}

func (c *Client) exchange(id string, batch []entry) (int, time.Duration, map[string]any) {
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"batch_id": %q, "sent_at": %.3f, "events": [`, id, float64(time.Now().UnixMilli())/1000)
	for i, one := range batch {
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(one.written)
	}
	body.WriteString("]}")
	encoding := ""
	if body.Len() > compressAbove {
		var packed bytes.Buffer
		zip := gzip.NewWriter(&packed)
		_, _ = zip.Write(body.Bytes())
		_ = zip.Close()
		body, encoding = packed, "gzip"
	}
	request, err := http.NewRequestWithContext(c.ctx, http.MethodPost, c.options.URL, &body)
	if err != nil {
		return 0, 0, nil
	}
	request.Header.Set("Authorization", "Bearer "+c.token())
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", id) // by which a balancer sends it to the same exporter again
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, 0, nil
	}
	defer response.Body.Close()
	told, err := io.ReadAll(io.LimitReader(response.Body, 4*1024*1024))
	if err != nil {
		return 0, 0, nil // it may have counted them: the same batch is sent again
	}
	var answer map[string]any
	_ = json.Unmarshal(told, &answer)
	return response.StatusCode, retryAfter(response.Header.Get("Retry-After")), answer
}

// read gives the fate of the events that were not counted, by index, and the number of duplicates.
func read(status int, answer map[string]any, sent int) (map[int]Outcome, int) {
	rejected, described := answer["rejected"].([]any)
	if duplicates, ok := answer["duplicates"].(float64); ok && described && (status == 202 || status == 400) {
		return refused(rejected, answer, sent), int(duplicates)
	}
	hint := "is HEYPETER_URL the exporter?"
	if status >= 400 {
		hint = text(answer, "error")
	}
	reason := text(answer, "reason")
	first(&reason, fmt.Sprintf("status_%d", status))
	// 401, 404 and the like are faults of the setup, not of the events: an outbox may retry them once it is fixed.
	state := "undelivered"
	if status == 400 || status == 413 {
		state = "rejected"
	}
	message := fmt.Sprintf("the exporter answered %d: %s", status, hint)
	return all(sent, Outcome{state, reason, text(answer, "field"), message}), 0
}

func refused(rejected []any, answer map[string]any, sent int) map[int]Outcome {
	faults, last := map[int]Outcome{}, -1
	for _, one := range rejected {
		fault, _ := one.(map[string]any)
		index, _ := fault["index"].(float64)
		faults[int(index)] = Outcome{"rejected", text(fault, "reason"), text(fault, "field"), text(fault, "message")}
		last = max(last, int(index))
	}
	// The answer describes the first hundred rejections; any later event may be rejected, too, so none is counted.
	if total, _ := answer["rejected_total"].(float64); int(total) > len(faults) {
		for i := last + 1; i < sent; i++ {
			faults[i] = Outcome{"rejected", "undescribed", "", "the exporter refused more events than it describes"}
		}
	}
	return faults
}

func text(from map[string]any, key string) string {
	said, _ := from[key].(string)
	return said[:min(len(said), 300)]
}

func all(number int, outcome Outcome) map[int]Outcome {
	outcomes := make(map[int]Outcome, number)
	for i := range number {
		outcomes[i] = outcome
	}
	return outcomes
}

func (c *Client) finish(batch []entry, outcomes map[int]Outcome) {
	for i, one := range batch {
		outcome, faulty := outcomes[i]
		switch {
		case !faulty:
			outcome = Outcome{State: "counted"}
			c.count(&c.stats.Sent, 1)
		case outcome.Message != "" || outcome.Reason != "":
			c.count(&c.stats.Rejected, 1)
			c.say(fmt.Sprintf("%s was %s: %s (%s %s)", one.kind, outcome.State, outcome.Message, outcome.Reason, outcome.Field))
		default: // an event that was never sent
			c.count(&c.stats.Dropped, 1)
			c.say("events could not be sent before the end")
		}
		one.done <- outcome
	}
	c.mu.Lock()
	c.settled += len(batch)
	c.notify()
	c.mu.Unlock()
}

func (c *Client) drop(why string) bool {
	c.count(&c.stats.Dropped, 1)
	c.say("telemetry is dropped: " + why)
	return false
}

func (c *Client) count(counter *int, number int) {
	c.mu.Lock()
	*counter += number
	c.mu.Unlock()
}

func (c *Client) say(line string) {
	c.mu.Lock()
	last, known := c.said[line]
	speak := (!known || time.Since(last) >= quiet) && len(c.said) < mostLines
	if speak {
		c.said[line] = time.Now()
	}
	c.mu.Unlock()
	if speak {
		c.options.Logger.Warn("heypeter: " + line)
	}
}

func addressOf(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	at, err := url.Parse(address)
	if err != nil || (at.Scheme != "http" && at.Scheme != "https") || at.Host == "" || at.User != nil {
		return "", errors.New("HEYPETER_URL is the exporter's address without a password: http://127.0.0.1:3001")
	}
	if at.Path == "" || at.Path == "/" {
		at.Path = "/api/events"
	}
	return at.String(), nil
}

// tokenReader returns a function that reads the token; a file is read for every batch, so a new one needs no restart.
func tokenReader(token, file string) (func() string, error) {
	if token == "" && file == "" {
		return nil, nil
	}
	if token != "" {
		cleaned, err := clean(token)
		return func() string { return cleaned }, err
	}
	known, err := readToken(file)
	if err != nil {
		return nil, err
	}
	return func() string { // of the one goroutine that sends
		if fresh, err := readToken(file); err == nil { // else the file is being replaced
			known = fresh
		}
		return known
	}, nil
}

func readToken(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return clean(string(content))
}

var printable = regexp.MustCompile(`^[!-~]+$`)

func clean(token string) (string, error) {
	token = strings.TrimSpace(token)
	if !printable.MatchString(token) {
		return "", errors.New("the token is empty or has characters beyond ASCII")
	}
	return token, nil
}

// retryAfter: seconds or a date, https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.
func retryAfter(header string) time.Duration {
	pause := time.Duration(0)
	if seconds, err := strconv.Atoi(header); err == nil {
		pause = time.Duration(min(seconds, 3600)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		pause = time.Until(at)
	}
	return max(0, min(pause, retryMost))
}

func newID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return hex.EncodeToString(id)
}

// TimeQuery runs a query and counts it, with its time and whether it failed.
func (c *Client) TimeQuery(operation, table string, run func() error) error {
	began := time.Now()
	err := run()
	outcome := "success"
	if err != nil {
		outcome = "failure"
	}
	c.Track("db_query", map[string]any{
		"operation": operation, "table": table, "outcome": outcome, "duration": seconds(time.Since(began)),
	})
	return err
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$`)

// TraceID returns the trace id of a W3C traceparent header, or "".
func TraceID(header string) string {
	match := traceparent.FindStringSubmatch(header)
	if match == nil || strings.HasPrefix(header, "ff") || match[1] == strings.Repeat("0", 32) {
		return ""
	}
	return match[1]
}

// Handler counts the requests that another handler serves, by the pattern of http.ServeMux. The duration of a request
// is a latency; of a stream or an upgrade only the time to the first byte is told. requests.yml has the cases.
func (c *Client) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served := &served{ResponseWriter: w, client: c, request: r, began: time.Now()}
		failed := true
		defer func() { served.end(failed) }() // a panic goes on to net/http
		next.ServeHTTP(served, r)
		failed = false
	})
}

// Types of a response that goes on for as long as somebody listens: that its client leaves is how it ends.
var streams = regexp.MustCompile(
	`^(text/event-stream|application/(x-ndjson|ndjson|jsonl|json-seq|stream\+json|grpc\b.*)|multipart/x-mixed-replace)$`)

// Types that are sent piece by piece both for a stream and for a document: a stream if their length is not known.
var open = regexp.MustCompile(`^(text/plain|application/octet-stream|audio/.*|video/.*)$`)

type served struct {
	http.ResponseWriter
	client    *Client
	request   *http.Request
	began     time.Time
	firstByte time.Time
	status    int
	header    http.Header
	flushed   bool
	counted   bool
}

func (s *served) answer(status int) {
	if s.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		s.status, s.firstByte, s.header = status, time.Now(), s.Header().Clone()
	}
}

// Unwrap is for http.ResponseController.
func (s *served) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *served) WriteHeader(status int) {
	s.answer(status)
	s.ResponseWriter.WriteHeader(status)
}

func (s *served) Write(part []byte) (int, error) {
	s.answer(http.StatusOK)
	return s.ResponseWriter.Write(part)
}

// ReadFrom keeps sendfile for files.
func (s *served) ReadFrom(source io.Reader) (int64, error) {
	s.answer(http.StatusOK)
	return io.Copy(s.ResponseWriter, source)
}

// Flush sends what was written: the response comes in parts.
func (s *served) Flush() { _ = s.FlushError() }

// FlushError is Flush for http.ResponseController.
func (s *served) FlushError() error {
	s.answer(http.StatusOK)
	s.flushed = true
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Hijack takes over the connection: the request is counted as an upgrade.
func (s *served) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err == nil {
		s.answer(http.StatusSwitchingProtocols)
		s.end(false)
	}
	return conn, buffer, err
}

func (s *served) end(failed bool) {
	if s.counted {
		return
	}
	s.counted = true
	ended := s.request.Context().Err()
	left := errors.Is(ended, context.Canceled)
	if s.status == 0 && !failed && ended == nil {
		s.answer(http.StatusOK) // net/http answers for a handler that wrote nothing
	}
	endless, stream := s.streams()
	status := s.status
	switch {
	case left && !endless:
		status = 499
	case status == 0 && !failed: // a time limit of the application's, which answers outside of us
		status = http.StatusGatewayTimeout
	case (failed && status < 400) || status > 599:
		status = 500
	}
	data := map[string]any{"method": s.request.Method, "route": route(s.request), "status": status}
	if stream {
		data["kind"], data["duration"] = "stream", seconds(s.firstByte.Sub(s.began))
	} else {
		data["duration"] = seconds(time.Since(s.began))
	}
	trace := TraceID(s.request.Header.Get("traceparent"))
	s.client.TrackEvent(Event{Type: "http_request", Data: data, TraceID: trace})
}

// seconds of a duration: an hour at most, as the exporter refuses events with more.
func seconds(passed time.Duration) float64 {
	return min(max(passed, 0), time.Hour).Seconds()
}

func (s *served) streams() (endless, stream bool) {
	kind, _, _ := strings.Cut(s.header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	unknown := s.flushed && s.header.Get("Content-Length") == ""
	can := s.status >= 200 && s.status < 300 && s.request.Method != http.MethodHead && unknown
	endless = s.status == http.StatusSwitchingProtocols || (can && streams.MatchString(kind))
	return endless, endless || (can && s.header.Get("Content-Encoding") == "" && open.MatchString(kind))
}

// route is the pattern that http.ServeMux found, without method and host; the exporter folds a path that has none.
func route(request *http.Request) string {
	if at := strings.Index(request.Pattern, "/"); at >= 0 {
		return request.Pattern[at:]
	}
	path := request.URL.Path // anybody may ask for one of any length
	return path[:min(len(path), maxRoute)]
}
