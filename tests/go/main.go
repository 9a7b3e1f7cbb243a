// Cancels bursts of calls beside a watch, all on one connection, and says whether the watch lives on.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("the watch lives on")
}

func run(address, calls, rounds string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ann := metadata.AppendToOutgoingContext(context.Background(), "x-user-id", "ann")
	watch, err := conn.NewStream(ann, &grpc.StreamDesc{ServerStreams: true}, "/disputes.v1.DisputeService/WatchDisputes")
	if err != nil {
		return err
	}
	// A heartbeat each second: the fifth field of the request.
	request := &emptypb.Empty{}
	request.ProtoReflect().SetUnknown([]byte{5<<3 | 2, 2, 1 << 3, 1})
	if err := watch.SendMsg(request); err != nil {
		return err
	}
	if err := watch.CloseSend(); err != nil {
		return err
	}
	if err := watch.RecvMsg(&emptypb.Empty{}); err != nil {
		return fmt.Errorf("the first message: %w", err)
	}
	burst, _ := strconv.Atoi(calls)
	times, _ := strconv.Atoi(rounds)
	for round := 0; round < times; round++ {
		together, cancel := context.WithCancel(ann)
		var done sync.WaitGroup
		for i := 0; i < burst; i++ {
			done.Add(1)
			go func() {
				defer done.Done()
				conn.Invoke(together, "/disputes.v1.DisputeService/ListReasons", &emptypb.Empty{}, &emptypb.Empty{})
			}()
		}
		time.Sleep(time.Duration(rand.Intn(1000)) * time.Microsecond)
		cancel()
		done.Wait()
	}
	for heartbeat := 0; heartbeat < 2; heartbeat++ {
		if err := watch.RecvMsg(&emptypb.Empty{}); err != nil {
			return fmt.Errorf("after the cancellations: %w", err)
		}
	}
	return nil
}
