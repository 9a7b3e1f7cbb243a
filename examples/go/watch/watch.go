// Package watch follows the events of disputes over broken connections, restarts of the service and rotated tokens.
// It needs nothing else of this program: copy the folder.
package watch

import (
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	disputesv1 "dispute-service/gen/disputes/v1"
)

const (
	defaultHeartbeat  = 15 * time.Second
	shortestHeartbeat = time.Second // The service refuses a shorter one: that refusal needs time to arrive.
	missedHeartbeats  = 3           // After so many without a message a stream counts as dead.
	firstBackoff      = 100 * time.Millisecond
	longestBackoff    = 10 * time.Second
	remembered        = 65_536 // Disputes whose revisions are remembered at least; at most twice as many are.
)

// Batch is a part of the log: events, and the position after them.
type Batch struct {
	// Events has up to 256 events in log order. It is empty if only the token has advanced.
	Events []*disputesv1.DisputeEvent
	// ResumeToken covers everything up to and including this batch. Store it once the events are handled: a watch that
	// starts with it continues from here.
	ResumeToken string
	// SnapshotComplete says that the requested snapshot is complete with this batch. It is set again if the service had
	// to repeat the snapshot.
	SnapshotComplete bool
}

// Connect makes a new channel with the credentials of the caller.
type Connect func() (*grpc.ClientConn, error)

// Disputes yields every event that matches the request and that the caller may see, in order, without gaps and without
// repetitions. The first batch comes as soon as the service has accepted the watch, often without events.
//
// It connects by a new channel for each attempt, because a channel keeps its connection, even one that has gone silent,
// and reconnects after every failure that this can help. So the last pair, and only that, has an error: a refusal by
// the service, an error of connect, or that of ctx once it is done. Leaving the loop ends the stream and closes the
// channel. While the loop's body runs, nothing is read beyond what HTTP/2 has already let through.
func Disputes(
	ctx context.Context, connect Connect, request *disputesv1.WatchDisputesRequest,
) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		w := &watcher{request: proto.CloneOf(request), heartbeat: defaultHeartbeat}
		if interval := request.GetHeartbeatInterval(); interval != nil {
			w.heartbeat = interval.AsDuration()
		}
		for {
			conn, err := connect()
			if err != nil {
				yield(Batch{}, err)
				return
			}
			accepted, err := w.follow(ctx, conn, func(batch Batch) bool { return yield(batch, nil) })
			_ = conn.Close()
			if err == nil {
				return // The consumer has left the loop.
			}
			if ctx.Err() != nil {
				yield(Batch{}, ctx.Err())
				return
			}
			refusal := status.Convert(err)
			if isFinal(refusal, accepted) {
				yield(Batch{}, err)
				return
			}
			delay := backoff(w.failures, refusal)
			w.failures++
			slog.Warn("the stream of disputes was interrupted", "error", err, "retry_in", delay)
			select {
			case <-ctx.Done():
			case <-time.After(delay):
			}
		}
	}
}

type watcher struct {
	request   *disputesv1.WatchDisputesRequest // That of the next attempt.
	token     string                           // The last one received.
	heartbeat time.Duration
	failures  int
	seen      deduplicator
}

// follow reads one stream until it fails, or until yield returns false, which is no error. accepted says whether the
// service sent anything.
func (w *watcher) follow(
	ctx context.Context, conn *grpc.ClientConn, yield func(Batch) bool,
) (accepted bool, err error) {
	// The only way to end a stream is to cancel its context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Its time runs while this waits for the connection or a message, and stands still while the consumer is busy.
	silence := time.AfterFunc(w.patience(), cancel)
	defer silence.Stop()
	stream, err := disputesv1.NewDisputeServiceClient(conn).WatchDisputes(ctx, w.request)
	if err != nil {
		return false, err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return accepted, err // io.EOF if the service ended the stream: a reason to reconnect as well.
		}
		silence.Stop()
		accepted = true
		if batch, isNew := w.batch(message); isNew && !yield(batch) {
			return accepted, nil
		}
		silence.Reset(w.patience())
	}
}

// batch takes over the state that a message brings, and returns what is new in it, if anything.
func (w *watcher) batch(message *disputesv1.WatchDisputesResponse) (batch Batch, isNew bool) {
	checkpoint := message.GetCheckpoint()
	if interval := checkpoint.GetHeartbeatInterval(); interval != nil {
		w.heartbeat = interval.AsDuration()
	}
	// A server that always fails after its first message must not be called without a pause.
	if !checkpoint.GetSubscribed() {
		w.failures = 0
	}
	batch = Batch{ResumeToken: message.GetResumeToken(), SnapshotComplete: checkpoint.GetSnapshotComplete()}
	for _, event := range message.GetEvents() {
		if w.seen.isNew(event.GetDispute().GetDisputeId(), event.GetRevision()) {
			batch.Events = append(batch.Events, event)
		}
	}
	isNew = batch.ResumeToken != w.token || batch.SnapshotComplete || len(batch.Events) > 0
	w.token = batch.ResumeToken
	w.request.Start = &disputesv1.WatchDisputesRequest_ResumeToken{ResumeToken: w.token}
	w.request.IncludeSnapshot = false // A token from within a snapshot asks for the rest by itself.
	return batch, isNew
}

func (w *watcher) patience() time.Duration {
	return missedHeartbeats * max(w.heartbeat, shortestHeartbeat)
}

// isFinal tells whether the same request would only be refused again.
func isFinal(refusal *status.Status, accepted bool) bool {
	switch refusal.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.FailedPrecondition,
		codes.OutOfRange, codes.Unimplemented, codes.DataLoss:
		return true
	case codes.Unauthenticated:
		// A stream ends when the token that it began with expires; the next one begins with a new token.
		return !accepted || detail[*errdetails.ErrorInfo](refusal).GetReason() != "CREDENTIAL_EXPIRED"
	case codes.ResourceExhausted:
		return detail[*errdetails.ErrorInfo](refusal).GetReason() == "MESSAGE_TOO_LARGE"
	default: // CANCELLED too: proxies and servers send it. Whether the caller cancelled, its context tells.
		return false
	}
}

// backoff returns how long to wait after so many failures in a row: a random time, so that clients do not return all at
// once, and what the service asks for.
func backoff(failures int, refusal *status.Status) time.Duration {
	longest := min(firstBackoff<<min(failures, 10), longestBackoff)
	return rand.N(longest) + detail[*errdetails.RetryInfo](refusal).GetRetryDelay().AsDuration()
}

// detail returns the error's detail of this type, nil if it has none.
func detail[T proto.Message](refusal *status.Status) (none T) {
	for _, detail := range refusal.Details() {
		if detail, ok := detail.(T); ok {
			return detail
		}
	}
	return none
}

// deduplicator knows the highest revision yielded of each dispute that had an event recently. Revisions grow with the
// events of a dispute, and a snapshot has the last one: so it knows repeated events, and those that a snapshot showed.
type deduplicator struct {
	recent, earlier map[string]int64 // earlier is the previous recent, dropped when recent is full.
}

func (d *deduplicator) isNew(dispute string, revision int64) bool {
	highest, isRecent := d.recent[dispute] // 0 if there is none: revisions start at 1.
	if !isRecent {
		highest = d.earlier[dispute]
		if d.recent == nil || len(d.recent) >= remembered {
			d.recent, d.earlier = map[string]int64{}, d.recent
		}
	}
	d.recent[dispute] = max(highest, revision)
	return revision > highest
}
