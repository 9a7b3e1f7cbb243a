package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	disputesv1 "dispute-service/gen/disputes/v1"
)

// TokenFile is where a watch that is started again continues: one file for each caller and filter. Empty if there is none.
type TokenFile string

// Start has a request begin with the token of the file or, where there is none yet, with a snapshot. Whether the file can be
// written shows only with the first batch, which comes at once.
func (f TokenFile) Start(request *disputesv1.WatchDisputesRequest) error {
	request.IncludeSnapshot = true // Unless there is a token.
	if f == "" {
		return nil
	}
	token, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	start := &disputesv1.WatchDisputesRequest_ResumeToken{ResumeToken: strings.TrimSpace(string(token))}
	if start.ResumeToken == "" { // For the service that is no token: it would begin now, with a gap.
		return fmt.Errorf("%s is empty: remove it, and the watch begins with a snapshot", f)
	}
	request.Start, request.IncludeSnapshot = start, false
	return nil
}

// Store keeps the token of a batch whose events were handled. It replaces the last one by a rename: whenever the program or the
// machine dies, the file has one or the other.
func (f TokenFile) Store(token string) error {
	if f == "" {
		return nil
	}
	file, err := os.OpenFile(string(f)+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(token)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), string(f))
}
