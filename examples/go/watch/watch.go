// Package watch follows disputes over broken connections, restarts of the service, and tokens that expire.
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

// Connect makes a new channel, with credentials. It is called before each attempt, because a channel keeps its
// connection, even one that has gone silent.
type Connect func() (*grpc.ClientConn, error)

// Batch is what a message of the service brings.
type Batch struct {
	Events           []*disputesv1.DisputeEvent // In log order, up to 256. None if only the token has advanced.
	ResumeToken      string                     // Covers all up to here: store it once the events are handled.
	SnapshotComplete bool                       // Again if the service had to repeat the snapshot.
}

// Disputes yields every event that matches the request and that the caller may see, in order, without gaps and without
// repetitions. The first batch comes, often without events, once the service has accepted the watch.
//
// It reconnects after every failure that this can help. The last pair, and only that, has an error: a refusal by the
// service, a request that cannot be encoded, an error of connect, or that of ctx when it is done. Leaving the loop ends
// the stream and closes the channel. While the loop's body runs, no more is received than HTTP/2 has already let through.
func Disputes(
	ctx context.Context, connect Connect, request *disputesv1.WatchDisputesRequest,
) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		// Calls with what cannot be encoded (a token that is not UTF-8, say) fail as Internal, which is otherwise worth a retry.
		if _, err := proto.Marshal(request); err != nil {
			yield(Batch{}, err)
			return
		}
		w := &watcher{connect: connect, request: proto.CloneOf(request), heartbeat: 15 * time.Second}
		if interval := request.GetHeartbeatInterval(); interval != nil {
			w.heartbeat = interval.AsDuration()
		}
		for {
			retry, err := w.follow(ctx, func(batch Batch) bool { return yield(batch, nil) })
			if err == nil {
				return // The loop was left.
			}
			if ctx.Err() != nil {
				retry, err = false, ctx.Err()
			}
			if !retry {
				yield(Batch{}, err)
				return
			}
			delay := backoff(w.failures, err)
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
	connect   Connect
	request   *disputesv1.WatchDisputesRequest // Of the next attempt.
	token     string                           // The last one received.
	heartbeat time.Duration
	failures  int
	seen      deduplicator
}

// follow connects and reads a stream until that fails, or without an error until yield returns false. retry tells whether to
// connect again.
func (w *watcher) follow(ctx context.Context, yield func(Batch) bool) (retry bool, err error) {
	conn, err := w.connect()
	if err != nil {
		return false, err
	}
	defer conn.Close() // Whatever happens: yield runs the loop's body, which may panic.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // Nothing else ends a stream on the client's side.
	silence := time.AfterFunc(w.patience(), func() {
		slog.Warn("nothing arrived for three heartbeats")
		cancel()
	})
	defer silence.Stop()
	stream, err := disputesv1.NewDisputeServiceClient(conn).WatchDisputes(ctx, w.request)
	if err != nil {
		return !isFinal(err, false), err
	}
	for accepted := false; ; accepted = true {
		message, err := stream.Recv()
		if err != nil { // With io.EOF if the service ended the stream: a reason to reconnect, too.
			return !isFinal(err, accepted), err
		}
		silence.Stop() // The consumer may take its time.
		if !accepted && w.failures > 0 {
			slog.Info("the stream of disputes goes on")
		}
		if batch, isNew := w.take(message); isNew && !yield(batch) {
			return false, nil
		}
		silence.Reset(w.patience())
	}
}

// take returns what is new in a message, if anything, and prepares the next request.
func (w *watcher) take(message *disputesv1.WatchDisputesResponse) (batch Batch, isNew bool) {
	checkpoint := message.GetCheckpoint()
	if interval := checkpoint.GetHeartbeatInterval(); interval != nil {
		w.heartbeat = interval.AsDuration()
	}
	if !checkpoint.GetSubscribed() {
		w.failures = 0 // Not at the first message: after that, a server may fail each time.
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
	w.request.IncludeSnapshot = false // A token from within a snapshot repeats it; what happened meanwhile is not lost.
	return batch, isNew
}

// patience is how long nothing may arrive: three heartbeats, of which the service accepts none shorter than a second.
func (w *watcher) patience() time.Duration { return 3 * max(w.heartbeat, time.Second) }

// isFinal tells whether the same request would only be refused again.
func isFinal(err error, accepted bool) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.FailedPrecondition,
		codes.OutOfRange, codes.Unimplemented, codes.DataLoss:
		return true
	case codes.Unauthenticated: // A stream ends when its credential expires; the next one has a new one.
		return !accepted || detail[*errdetails.ErrorInfo](err).GetReason() != "CREDENTIAL_EXPIRED"
	case codes.ResourceExhausted:
		return detail[*errdetails.ErrorInfo](err).GetReason() == "MESSAGE_TOO_LARGE"
	}
	return false // Nor is Canceled, which proxies and timeouts cause: whether the caller cancelled, ctx knows.
}

// backoff returns how long to wait after so many failures in a row: randomly, so that clients do not come all at once,
// and as long as the service asks for.
func backoff(failures int, err error) time.Duration {
	longest := min(100*time.Millisecond<<min(failures, 10), 10*time.Second)
	return detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration() + rand.N(longest)
}

// remembered is how many disputes a deduplicator knows at least, and half of how many at most.
const remembered = 65_536

// deduplicator knows the highest revision yielded of the disputes that had events last. A snapshot has the revision of the
// last event: so this finds repeated events, and also those that a snapshot already showed.
type deduplicator struct{ recent, earlier map[string]int64 }

func (d *deduplicator) isNew(dispute string, revision int64) bool {
	highest, isRecent := d.recent[dispute]
	if !isRecent {
		highest = d.earlier[dispute] // 0 if unknown; revisions begin with 1.
		if d.recent == nil || len(d.recent) >= remembered {
			d.recent, d.earlier = map[string]int64{}, d.recent
		}
	}
	d.recent[dispute] = max(highest, revision)
	return revision > highest
}
