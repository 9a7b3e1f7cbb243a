package watch

import (
	"errors"
	"io/fs"
	"os"

	disputesv1 "dispute-service/gen/disputes/v1"
)

// TokenFile is where a watch that is started again continues. Empty if there is none.
type TokenFile string

// Start has a request begin with the token of the file or, where there is none yet, with a snapshot.
func (f TokenFile) Start(request *disputesv1.WatchDisputesRequest) error {
	token, err := os.ReadFile(string(f))
	if f != "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if request.IncludeSnapshot = len(token) == 0; !request.IncludeSnapshot {
		request.Start = &disputesv1.WatchDisputesRequest_ResumeToken{ResumeToken: string(token)}
	}
	return nil
}

// Store keeps the token of a batch whose events were handled. It replaces the last one by a rename: whenever the program is
// killed, the file has one or the other.
func (f TokenFile) Store(token string) error {
	if f == "" {
		return nil
	}
	if err := os.WriteFile(string(f)+".new", []byte(token), 0o600); err != nil {
		return err
	}
	return os.Rename(string(f)+".new", string(f))
}
