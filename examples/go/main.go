// Command client offers a partial refund on an order, or prints what happens to disputes: see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/durationpb"

	disputesv1 "dispute-service/gen/disputes/v1"
	"dispute-service/watch"
)

const usage = `usage: client offer ORDER_ID AMOUNT MESSAGE (AMOUNT such as 12.50), or client watch [TOKEN_FILE]
environment: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE (with https only) or DISPUTES_USER_ID`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second Ctrl-C ends the program at once, even if its output is stuck.
	command, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := command(ctx); err != nil {
		fmt.Fprintln(os.Stderr, watch.Describe(err))
		os.Exit(1)
	}
}

// parse returns what the arguments and the environment ask for, or all that is wrong with them.
func parse(args []string) (func(context.Context) error, error) {
	connect, err := watch.ConnectorFromEnvironment()
	switch {
	case len(args) == 4 && args[0] == "offer":
		amount, errAmount := parseAmount(args[2])
		command := func(ctx context.Context) error { return offer(ctx, connect, args[1], amount, args[3]) }
		return command, errors.Join(err, errAmount)
	case (len(args) == 1 || len(args) == 2) && args[0] == "watch":
		request := &disputesv1.WatchDisputesRequest{HeartbeatInterval: durationpb.New(5 * time.Second)}
		file := watch.TokenFile(strings.Join(args[1:], ""))
		command := func(ctx context.Context) error { return follow(ctx, connect, request, file) }
		return command, errors.Join(err, file.Start(request))
	}
	return nil, errors.New(usage)
}

func offer(ctx context.Context, connect watch.Connect, orderID string, amount *money.Money, message string) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // That of the service config begins once the name is resolved.
	defer cancel()
	order, err := disputesv1.NewOrderServiceClient(conn).GetOrder(ctx, &disputesv1.GetOrderRequest{OrderId: orderID})
	if err != nil {
		return err
	}
	amount.CurrencyCode = order.GetOrder().GetPrice().GetCurrencyCode()
	reply, err := disputesv1.NewDisputeServiceClient(conn).OfferPartialRefund(ctx, &disputesv1.OfferPartialRefundRequest{
		OrderId:   orderID,
		Amount:    amount,
		Message:   message,
		Reason:    disputesv1.Reason_REASON_BUYER_PARTLY_DISSATISFIED, // One of those that ListReasons names.
		RequestId: uuid.NewString(),                                   // Made once, so that it takes effect once.
	})
	if err != nil {
		return err
	}
	dispute := reply.GetDispute()
	state := strings.TrimPrefix(dispute.GetStatus().String(), "DISPUTE_STATUS_")
	_, err = fmt.Println(dispute.GetDisputeId(), state, dispute.GetRespondBy().AsTime().Format(time.RFC3339))
	return err
}

// parseAmount converts exactly, by the digits: most amounts, such as 0.29, are no float64.
func parseAmount(text string) (*money.Money, error) {
	whole, decimals, _ := strings.Cut(text, ".")
	units, err := strconv.ParseUint(whole, 10, 63)
	nanos, errDecimals := strconv.ParseUint((decimals + "000000000")[:9], 10, 32)
	if err = errors.Join(err, errDecimals); err != nil || len(decimals) > 9 || strings.HasSuffix(text, ".") {
		return nil, fmt.Errorf("%q is no amount such as 12.50", text)
	}
	return &money.Money{Units: int64(units), Nanos: int32(nanos)}, nil
}

func follow(ctx context.Context, connect watch.Connect, request *disputesv1.WatchDisputesRequest, file watch.TokenFile) error {
	greeting := "watching\n"
	for batch, err := range watch.Disputes(ctx, connect, request) {
		if ctx.Err() != nil { // Ctrl-C.
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprint(os.Stderr, greeting)
		greeting = ""
		for _, event := range batch.Events {
			kind, dispute := strings.TrimPrefix(event.GetType().String(), "EVENT_TYPE_"), event.GetDispute()
			if _, err := fmt.Println(kind, dispute.GetOrderId(), dispute.GetDisputeId(), event.GetRevision()); err != nil {
				return err // Before the token is stored, which would skip the event next time.
			}
		}
		if err := file.Store(batch.ResumeToken); err != nil {
			return err
		}
	}
	return nil
}
