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

var errUsage = errors.New(`usage: client offer ORDER_ID AMOUNT MESSAGE (AMOUNT such as 12.50), or client watch [TOKEN_FILE]
environment: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE (with https only) or DISPUTES_USER_ID`)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); errors.Is(err, errUsage) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, watch.Describe(err))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	connect, err := watch.Connector()
	switch {
	case err != nil:
		return fmt.Errorf("%w\n%w", err, errUsage)
	case len(args) == 4 && args[0] == "offer":
		return offer(ctx, connect, args[1], args[2], args[3])
	case (len(args) == 1 || len(args) == 2) && args[0] == "watch":
		return follow(ctx, connect, watch.TokenFile(strings.Join(args[1:], "")))
	}
	return errUsage
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
	// The timeout of the service config begins only when the name is resolved.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
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
		RequestId: uuid.NewString(),                                   // However often gRPC sends it, it takes effect once.
	})
	if err != nil {
		return err
	}
	dispute := reply.GetDispute()
	state := strings.TrimPrefix(dispute.GetStatus().String(), "DISPUTE_STATUS_")
	fmt.Println(dispute.GetDisputeId(), state, dispute.GetRespondBy().AsTime().Format(time.RFC3339))
	return nil
}

// parseAmount converts exactly, by the digits: most amounts, such as 0.29, are no float64.
func parseAmount(text string) (*money.Money, error) {
	whole, decimals, _ := strings.Cut(text, ".")
	units, err := strconv.ParseUint(whole, 10, 63)
	nanos, noDecimals := strconv.ParseUint((decimals + "000000000")[:9], 10, 32)
	if err = errors.Join(err, noDecimals); err != nil || len(decimals) > 9 || strings.HasSuffix(text, ".") {
		return nil, fmt.Errorf("%q is no amount\n%w", text, errUsage)
	}
	return &money.Money{Units: int64(units), Nanos: int32(nanos)}, nil
}

func follow(ctx context.Context, connect watch.Connect, file watch.TokenFile) error {
	request := &disputesv1.WatchDisputesRequest{HeartbeatInterval: durationpb.New(5 * time.Second)}
	if err := file.Start(request); err != nil {
		return err
	}
	greeting := "watching\n"
	for batch, err := range watch.Disputes(ctx, connect, request) {
		if ctx.Err() != nil { // Ctrl-C.
			return nil
		} else if err != nil {
			return err
		}
		fmt.Fprint(os.Stderr, greeting)
		greeting = ""
		for _, event := range batch.Events {
			kind := strings.TrimPrefix(event.GetType().String(), "EVENT_TYPE_")
			fmt.Println(kind, event.GetDispute().GetOrderId(), event.GetDispute().GetDisputeId(), event.GetRevision())
		}
		if err := file.Store(batch.ResumeToken); err != nil {
			return err
		}
	}
	return nil
}
