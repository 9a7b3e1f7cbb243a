package watch

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Describe returns what an error of the service says, in full: code, reason and message, and below them its facts and
// everything that is wrong with the request.
func Describe(err error) string {
	wrapped, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return err.Error()
	}
	failure := wrapped.GRPCStatus() // Where err wraps it, the one of status.FromError has all of err's text as its message.
	info := detail[*errdetails.ErrorInfo](err)
	text := failure.Code().String()
	if info != nil {
		text += " " + info.GetReason()
	}
	text += ": " + failure.Message()
	for _, key := range slices.Sorted(maps.Keys(info.GetMetadata())) {
		text += fmt.Sprintf("\n  %s: %s", key, info.GetMetadata()[key])
	}
	for _, violation := range detail[*errdetails.BadRequest](err).GetFieldViolations() {
		text += fmt.Sprintf("\n  %s: %s", violation.GetField(), violation.GetDescription())
	}
	return text
}

// detail returns the detail of this type, or nil.
func detail[T proto.Message](err error) (found T) {
	for _, candidate := range status.Convert(err).Details() {
		if detail, ok := candidate.(T); ok {
			return detail
		}
	}
	return found
}
