package watch

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // Without it, there are no health checks but a line in the log.
	"google.golang.org/grpc/status"
)

// serviceConfig has retries, deadlines, health checks, and waiting for a service that is not there yet.
//
//go:embed service_config.json
var serviceConfig string

// ConnectorFromEnvironment returns the [Connector] that DISPUTES_URL, DISPUTES_CA, DISPUTES_TOKEN_FILE and DISPUTES_USER_ID
// describe.
func ConnectorFromEnvironment() (Connect, error) {
	caller := Caller{TokenFile: os.Getenv("DISPUTES_TOKEN_FILE"), UserID: os.Getenv("DISPUTES_USER_ID")}
	if caller == (Caller{}) {
		return nil, errors.New("set DISPUTES_USER_ID, or DISPUTES_TOKEN_FILE and a DISPUTES_URL that begins with https://")
	}
	return Connector(cmp.Or(os.Getenv("DISPUTES_URL"), "http://127.0.0.1:50051"), os.Getenv("DISPUTES_CA"), caller)
}

// Connector returns what makes connections to the service at this URL. caFile has the authorities to trust in PEM; without it,
// they are those of the system.
func Connector(serviceURL, caFile string, caller Caller) (Connect, error) {
	service, err := url.Parse(serviceURL)
	if err != nil || service.Hostname() == "" || service.Scheme != "http" && service.Scheme != "https" ||
		service.Scheme+"://"+service.Host != strings.TrimSuffix(serviceURL, "/") { // It has a path, say, or a user.
		return nil, errors.New("the URL of the service (DISPUTES_URL) must be http://host:port or https://host:port")
	}
	if service.Scheme == "http" && caller.RequireTransportSecurity() {
		return nil, errors.New("a token (DISPUTES_TOKEN_FILE) is not sent in plain text: the URL must begin with https://")
	}
	transport, port := insecure.NewCredentials(), "80"
	if service.Scheme == "https" {
		transport, port = credentials.NewTLS(&tls.Config{}), "443"
		if caFile != "" {
			if transport, err = credentials.NewClientTLSFromFile(caFile, ""); err != nil {
				return nil, fmt.Errorf("the certificates of the authorities: %w", err)
			}
		}
	}
	if _, err := caller.headers(); err != nil { // Now: a call would try again for seconds, a watch for ever.
		return nil, err
	}
	// Without the scheme, a host called "unix" would be taken for one.
	target := "dns:///" + net.JoinHostPort(service.Hostname(), cmp.Or(service.Port(), port))
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// By WithPerRPCCredentials, health checks would have them too: where they fail, those fail silently, and calls hang.
		grpc.WithDefaultCallOptions(grpc.PerRPCCredentials(caller)),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // No look-up in DNS for another one, which takes time and would win.
	}
	return func() (*grpc.ClientConn, error) { return grpc.NewClient(target, options...) }, nil
}

// Caller is who calls: whoever the token in a file names or, for a service with --auth dev, a user.
type Caller struct {
	TokenFile string // Read for each call, since tokens are replaced: by renaming a new file over it.
	UserID    string // Ignored if there is a TokenFile, as is Scope.
	Scope     string // Empty, "support" or "platform".
}

func (c Caller) headers() (map[string]string, error) {
	headers := map[string]string{"x-user-id": c.UserID}
	if c.Scope != "" {
		headers["x-scope"] = c.Scope
	}
	if c.TokenFile != "" {
		token, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("the token of the caller: %w", err)
		}
		headers = map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(token))}
	}
	for name, value := range headers {
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("the %s has characters that a header cannot have", name)
		}
	}
	return headers, nil
}

// GetRequestMetadata is called by gRPC for each attempt of a call.
func (c Caller) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	headers, err := c.headers()
	if err != nil {
		// So that it is tried again: the file may just be replaced.
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return headers, nil
}

// RequireTransportSecurity makes gRPC, too, refuse to send a token unencrypted.
func (c Caller) RequireTransportSecurity() bool { return c.TokenFile != "" }
