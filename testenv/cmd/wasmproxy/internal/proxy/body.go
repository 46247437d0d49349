package proxy

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/testenv"
)

const (
	chunkBytes = 32 << 10
	// How long and how much a client may go on sending once its answer is known and before it is
	// sent. A body that ends within both leaves the connection usable.
	settleTime  = 250 * time.Millisecond
	settleBytes = 256 << 10
	// How long it may go on once the answer is sent: closing on a client that still sends would
	// reset the connection, and it might never read the answer.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = math.MaxInt
)

// longAgo is a deadline that ends whatever waits.
var longAgo = time.Unix(1, 0)

// chunkPool holds *[chunkBytes]byte.
var chunkPool = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// chunk is a piece of a request body, in a buffer from chunkPool. err is io.EOF with the last one.
type chunk struct {
	buf *[chunkBytes]byte
	n   int
	err error
}

// clientBody reads a request's body one chunk ahead of its consumer. Reading ahead lets net/http
// notice a client that leaves while the filter holds its request, and sends 100 Continue at once,
// as Envoy does.
type clientBody struct {
	chunks   chan chunk
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{} // closed when the reader has returned
	complete atomic.Bool   // the reader has seen the end
	received atomic.Int64
	idle     *idleTimer
}

// newClientBody starts the reader; nil for a request without a body. Bytes that arrive touch idle.
// Call close before the handler returns.
func newClientBody(r *http.Request, idle *idleTimer) *clientBody {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &clientBody{chunks: make(chan chunk), stop: make(chan struct{}), done: make(chan struct{}), idle: idle}
	go b.read(r.Body)
	return b
}

func (b *clientBody) read(src io.Reader) {
	defer close(b.done)
	for {
		c := chunk{buf: chunkPool.Get().(*[chunkBytes]byte)}
		c.n, c.err = src.Read(c.buf[:])
		b.received.Add(int64(c.n))
		if c.n > 0 {
			b.idle.touch()
		}
		if c.err == io.EOF {
			b.complete.Store(true)
		}
		select {
		case b.chunks <- c:
		case <-b.stop:
			chunkPool.Put(c.buf)
			return
		}
		if c.err != nil {
			return
		}
	}
}

// isComplete reports whether the whole body has arrived; true where there is none.
func (b *clientBody) isComplete() bool { return b == nil || b.complete.Load() }

func (b *clientBody) bytes() int64 {
	if b == nil {
		return 0
	}
	return b.received.Load()
}

// drain reads and drops what arrives, until the end, an error or either limit.
func (b *clientBody) drain(limit time.Duration, bytes int) {
	if b.isComplete() {
		return
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for left := bytes; left > 0 && !b.isComplete(); {
		select {
		case c := <-b.chunks:
			left -= c.n
			chunkPool.Put(c.buf)
		case <-b.done:
			return
		case <-timer.C:
			return
		}
	}
}

// close ends the reader and waits for it. A body that is not complete leaves the connection in the
// middle of a request: the caller must have arranged for it to be closed.
func (b *clientBody) close(rc *http.ResponseController) {
	if b == nil {
		return
	}
	b.stopOnce.Do(func() { close(b.stop) })
	select {
	case <-b.done:
		return
	default:
	}
	if !b.isComplete() {
		// The reader sits in a read that only the deadline ends. An error means that the
		// connection is gone, and then the read has ended too.
		_ = rc.SetReadDeadline(longAgo)
	}
	<-b.done
}

// upstreamBody is the request body as the upstream is to see it: read from the client, passed
// through the filters. The transport reads it on a goroutine of its own.
type upstreamBody struct {
	x        *exchange
	trailers http.Header // where request trailers go; nil drops them
	pending  []byte
	buf      *[chunkBytes]byte // holds pending, where no filter copied it
	end      bool
}

// Read implements io.Reader. It fails with errLocalReply once a filter has answered.
func (b *upstreamBody) Read(p []byte) (int, error) {
	for len(b.pending) == 0 {
		b.recycle()
		if b.end {
			b.x.startTimeout()
			return 0, io.EOF
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	return n, nil
}

// Close implements io.Closer. The exchange owns the client's body and closes it itself.
func (b *upstreamBody) Close() error { return nil }

func (b *upstreamBody) recycle() {
	if b.buf != nil {
		chunkPool.Put(b.buf)
		b.buf = nil
	}
}

// fill takes the next chunk and passes it through the filters.
func (b *upstreamBody) fill() error {
	ctx := b.x.ctx
	var c chunk
	select {
	case c = <-b.x.body.chunks:
	case <-ctx.Done():
		return ctx.Err()
	}
	b.buf = c.buf
	if c.err != nil && c.err != io.EOF {
		return b.malformed(c.err)
	}
	if c.n > 0 {
		if err := b.keep(b.x.stream.RequestBody(ctx, c.buf[:c.n], false)); err != nil {
			return err
		}
	}
	if c.err == nil {
		return nil
	}
	b.end = true
	if len(b.x.r.Trailer) > 0 && b.x.p.cfg.HTTP.Trailers {
		return b.fillTrailers()
	}
	return b.keep(b.x.stream.RequestBody(ctx, nil, true))
}

// fillTrailers passes the trailers through the filters, which may have held the body until now.
func (b *upstreamBody) fillTrailers() error {
	if ref := checkNames(b.x.r.Trailer, b.x.p.cfg.HTTP.Underscores); ref != nil {
		return b.malformed(fmt.Errorf("trailers: %s", ref.reason))
	}
	trailers := trailerList(b.x.r.Trailer)
	if len(trailers) == 0 {
		return b.keep(b.x.stream.RequestBody(b.x.ctx, nil, true))
	}
	res, err := b.x.stream.RequestTrailers(b.x.ctx, trailers)
	if err == nil && res.Local == nil && b.trailers != nil {
		copyHeaders(b.trailers, res.Headers)
	}
	return b.keep(res, err)
}

// malformed notes that what failed is the client's doing: to the transport that reads this body
// and the upstream behind it, it is a request that broke off.
func (b *upstreamBody) malformed(err error) error {
	b.x.malformed.Store(true)
	return fmt.Errorf("read the client's body: %w", err)
}

// keep stores what a step lets through, or the filter's answer for the exchange to send.
func (b *upstreamBody) keep(res testenv.StepResult, err error) error {
	if err != nil {
		return err
	}
	if res.Local != nil {
		b.x.local <- res.Local
		return errLocalReply
	}
	if len(b.pending) == 0 {
		b.pending = res.Body
	} else if len(res.Body) > 0 {
		b.pending = append(append([]byte(nil), b.pending...), res.Body...)
	}
	return nil
}
