package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	disputesv1 "dispute-service/gen/disputes/v1"
)

func failure(code codes.Code, details ...protoadapt.MessageV1) error {
	with, err := status.New(code, "no").WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return with.Err()
}

func TestOnlyRefusalsThatReconnectingCannotHelpAreFinal(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		final := false
		switch code {
		case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
			codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented, codes.DataLoss, codes.Unauthenticated:
			final = true
		}
		for _, accepted := range []bool{false, true} {
			if got := isFinal(failure(code), accepted); got != final {
				t.Errorf("%v, accepted %v: final is %v", code, accepted, got)
			}
		}
	}
	expired := failure(codes.Unauthenticated, &errdetails.ErrorInfo{Reason: "CREDENTIAL_EXPIRED"})
	if !isFinal(expired, false) || isFinal(expired, true) {
		t.Error("CREDENTIAL_EXPIRED is final, except for a stream that was accepted")
	}
	if !isFinal(failure(codes.ResourceExhausted, &errdetails.ErrorInfo{Reason: "MESSAGE_TOO_LARGE"}), false) {
		t.Error("MESSAGE_TOO_LARGE is final")
	}
	if isFinal(failure(codes.ResourceExhausted, &errdetails.ErrorInfo{Reason: "TOO_MANY_SUBSCRIPTIONS"}), false) {
		t.Error("TOO_MANY_SUBSCRIPTIONS passes")
	}
}

func TestAWaitDoublesUpToTenSecondsBesidesWhatTheServiceAsksFor(t *testing.T) {
	asked := failure(codes.Unavailable, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Minute)})
	for failures, most := range map[int]time.Duration{
		0: 100 * time.Millisecond, 1: 200 * time.Millisecond, 6: 6400 * time.Millisecond, 7: 10 * time.Second,
		1 << 40: 10 * time.Second,
	} {
		for range 1000 {
			if delay := backoff(failures, failure(codes.Unavailable)); delay < 0 || delay >= most {
				t.Fatalf("%v after %d failures", delay, failures)
			}
			if delay := backoff(failures, asked); delay < time.Minute || delay >= time.Minute+most {
				t.Fatalf("%v after %d failures, although the service asked for a minute", delay, failures)
			}
		}
	}
}

func TestAConnectionThatCannotBeMeantIsRefusedAtOnce(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		url     string
		caller  Caller
		isTaken bool
	}{
		{"http://localhost:1", Caller{UserID: "ann"}, true}, {"http://[::1]/", Caller{UserID: "ann"}, true},
		{"https://localhost", Caller{TokenFile: token}, true}, {"http://localhost", Caller{TokenFile: token}, false},
		{"https://localhost", Caller{TokenFile: token + "s"}, false}, {"http://localhost", Caller{UserID: "zoë"}, false},
		{"http://localhost/path", Caller{UserID: "ann"}, false}, {"http://u:p@localhost", Caller{UserID: "ann"}, false},
		{"localhost:1", Caller{UserID: "ann"}, false}, {"", Caller{UserID: "ann"}, false},
	} {
		if _, err := Connector(step.url, "", step.caller); (err == nil) != step.isTaken {
			t.Errorf("%+v: %v", step, err)
		}
	}
}

func TestAWatchContinuesFromItsFileAndFromNoEmptyOne(t *testing.T) {
	file := TokenFile(filepath.Join(t.TempDir(), "position"))
	request := &disputesv1.WatchDisputesRequest{}
	if err := file.Start(request); err != nil || !request.IncludeSnapshot {
		t.Errorf("without a file: %v %v", request, err)
	}
	for _, token := range []string{"1", "2"} {
		if err := errors.Join(file.Store(token), file.Start(request)); err != nil {
			t.Fatal(err)
		}
		if request.IncludeSnapshot || request.GetResumeToken() != token {
			t.Errorf("after %q: %v", token, request)
		}
	}
	if err := errors.Join(file.Store("\n"), file.Start(request)); err == nil {
		t.Error("an empty file is no token")
	}
}

func TestAnErrorIsToldInFullEvenIfItIsWrapped(t *testing.T) {
	err := failure(codes.NotFound, &errdetails.ErrorInfo{Reason: "ORDER_NOT_FOUND", Metadata: map[string]string{"b": "2", "a": "1"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "order_id", Description: "none"}}})
	want := "NotFound ORDER_NOT_FOUND: no\n  a: 1\n  b: 2\n  order_id: none"
	for _, err := range []error{err, fmt.Errorf("offering: %w", err)} {
		if got := Describe(err); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestOnlyHigherRevisionsAreNew(t *testing.T) {
	var seen deduplicator
	for _, step := range []struct {
		dispute  string
		revision int64
		isNew    bool
	}{
		{"a", 1, true}, {"a", 1, false}, {"b", 1, true}, {"a", 2, true},
		{"c", 3, true}, {"c", 2, false}, {"c", 3, false}, {"c", 4, true}, // A snapshot, and the events that it shows.
		{"a", 2, false}, {"a", 1, false},
	} {
		if seen.isNew(step.dispute, step.revision) != step.isNew {
			t.Errorf("%+v", step)
		}
	}
}

func TestTheDisputesThatHadEventsLastAreRememberedAndNotManyMore(t *testing.T) {
	var seen deduplicator
	seen.isNew("often", 1)
	for i := range 3 * remembered {
		if !seen.isNew(fmt.Sprint(i), 1) || seen.isNew("often", 1) {
			t.Fatalf("after %d others", i)
		}
		if len(seen.recent) > remembered || len(seen.earlier) > remembered {
			t.Fatalf("%d and %d are remembered", len(seen.recent), len(seen.earlier))
		}
	}
	for i := 2*remembered + 1; i < 3*remembered; i++ {
		if seen.isNew(fmt.Sprint(i), 1) {
			t.Fatalf("%d was among the last", i)
		}
	}
}

func TestTheNextRequestHasTheLastTokenAndNothingIsYieldedTwice(t *testing.T) {
	w := &watcher{request: &disputesv1.WatchDisputesRequest{IncludeSnapshot: true}, failures: 3}
	event := &disputesv1.DisputeEvent{Dispute: &disputesv1.Dispute{DisputeId: "a"}, Revision: 1}
	for i, step := range []struct {
		message  *disputesv1.WatchDisputesResponse
		isNew    bool
		events   int
		failures int
	}{
		{&disputesv1.WatchDisputesResponse{ResumeToken: "1", Checkpoint: &disputesv1.Checkpoint{Subscribed: true}}, true, 0, 3},
		{&disputesv1.WatchDisputesResponse{ResumeToken: "2", Events: []*disputesv1.DisputeEvent{event, event}}, true, 1, 0},
		{&disputesv1.WatchDisputesResponse{ResumeToken: "2", Events: []*disputesv1.DisputeEvent{event}}, false, 0, 0},
		{&disputesv1.WatchDisputesResponse{
			ResumeToken: "2",
			Checkpoint:  &disputesv1.Checkpoint{SnapshotComplete: true, HeartbeatInterval: durationpb.New(2 * time.Second)},
		}, true, 0, 0},
	} {
		batch, isNew := w.take(step.message)
		if isNew != step.isNew || len(batch.Events) != step.events || w.failures != step.failures {
			t.Errorf("message %d: new %v, %d events, %d failures", i, isNew, len(batch.Events), w.failures)
		}
		if token := w.request.GetResumeToken(); token != step.message.ResumeToken || w.request.IncludeSnapshot {
			t.Errorf("message %d: the next request has the token %q", i, token)
		}
	}
	if w.patience() != 6*time.Second {
		t.Errorf("the patience is %v, not three of the heartbeats that the service states", w.patience())
	}
}
