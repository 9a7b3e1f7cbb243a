// Command client offers a partial refund on an order, or prints what happens to disputes: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	disputesv1 "dispute-service/gen/disputes/v1"
	"dispute-service/watch"
)

// usageError is a mistake in the arguments or in the environment.
type usageError string

func (e usageError) Error() string { return string(e) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second Ctrl-C ends the program at once.
	if err := run(ctx, os.Args[1:]); errors.As(err, new(usageError)) {
		fmt.Fprintf(os.Stderr, "%v\nusage: client offer ORDER_ID AMOUNT MESSAGE\n       client watch [TOKEN_FILE]\n", err)
		os.Exit(2)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, describe(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	connect, err := connector()
	switch {
	case err != nil:
		return err
	case len(args) == 4 && args[0] == "offer":
		return offer(ctx, connect, args[1], args[2], args[3])
	case len(args) == 2 && args[0] == "watch":
		return follow(ctx, connect, args[1])
	case len(args) == 1 && args[0] == "watch":
		return follow(ctx, connect, "")
	}
	return usageError("wrong arguments")
}

func offer(ctx context.Context, connect watch.Connect, orderID, text, message string) error {
	amount, err := parseAmount(text)
	if err != nil {
		return err
	}
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	order, err := disputesv1.NewOrderServiceClient(conn).GetOrder(ctx, &disputesv1.GetOrderRequest{OrderId: orderID})
	if err != nil {
		return err
	}
	amount.CurrencyCode = order.GetOrder().GetPrice().GetCurrencyCode()
	request := &disputesv1.OfferPartialRefundRequest{
		OrderId: orderID,
		Amount:  amount,
		Message: message,
		Reason:  disputesv1.Reason_REASON_GOODWILL,
		// gRPC repeats this request when the connection breaks. With an id it takes effect once.
		RequestId: uuid.NewString(),
	}
	reply, err := disputesv1.NewDisputeServiceClient(conn).OfferPartialRefund(ctx, request)
	if err != nil {
		return err
	}
	dispute := reply.GetDispute()
	state := strings.TrimPrefix(dispute.GetStatus().String(), "DISPUTE_STATUS_")
	fmt.Println(dispute.GetDisputeId(), state, dispute.GetRespondBy().AsTime().Format(time.RFC3339))
	return nil
}

var decimal = regexp.MustCompile(`^([0-9]+)(?:\.([0-9]{1,9}))?$`)

// parseAmount converts exactly, by the digits: most amounts, such as 0.29, are no float64.
func parseAmount(text string) (*money.Money, error) {
	digits := decimal.FindStringSubmatch(text)
	if digits == nil {
		return nil, usageError("AMOUNT is no amount such as 12.50")
	}
	units, err := strconv.ParseInt(digits[1], 10, 64)
	if err != nil {
		return nil, usageError("AMOUNT is too large")
	}
	nanos, err := strconv.ParseInt((digits[2] + "000000000")[:9], 10, 32)
	return &money.Money{Units: units, Nanos: int32(nanos)}, err
}

func follow(ctx context.Context, connect watch.Connect, tokenFile string) error {
	request := &disputesv1.WatchDisputesRequest{HeartbeatInterval: durationpb.New(5 * time.Second)}
	token, err := os.ReadFile(tokenFile)
	if err != nil && tokenFile != "" && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(token) > 0 {
		request.Start = &disputesv1.WatchDisputesRequest_ResumeToken{ResumeToken: string(token)}
	} else {
		request.IncludeSnapshot = true
	}
	announce := sync.OnceFunc(func() { fmt.Fprintln(os.Stderr, "watching") })
	for batch, err := range watch.Disputes(ctx, connect, request) {
		if ctx.Err() != nil {
			return nil // Ctrl-C.
		} else if err != nil {
			return err
		}
		announce()
		for _, event := range batch.Events {
			kind := strings.TrimPrefix(event.GetType().String(), "EVENT_TYPE_")
			fmt.Println(kind, event.GetDispute().GetOrderId(), event.GetDispute().GetDisputeId(), event.GetRevision())
		}
		if tokenFile == "" {
			continue
		}
		// Only now, and by a rename: whenever the program is killed, the file has a token that covers no more than
		// what was printed.
		if err := os.WriteFile(tokenFile+".new", []byte(batch.ResumeToken), 0o600); err != nil {
			return err
		} else if err := os.Rename(tokenFile+".new", tokenFile); err != nil {
			return err
		}
	}
	return nil
}

// describe returns the code, the reason and the message of an error of the service, and below them all its facts.
func describe(err error) string {
	failure, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	head, facts := failure.Code().String(), ""
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			head += " " + detail.GetReason()
			for _, key := range slices.Sorted(maps.Keys(detail.GetMetadata())) {
				facts += fmt.Sprintf("\n  %s: %s", key, detail.GetMetadata()[key])
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				facts += fmt.Sprintf("\n  %s: %s", violation.GetField(), violation.GetDescription())
			}
		}
	}
	return head + ": " + failure.Message() + facts
}
