package watch

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
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

// Connector returns what makes connections as the environment says: DISPUTES_URL, DISPUTES_CA, and who the caller is.
func Connector() (Connect, error) {
	service, err := url.Parse(cmp.Or(os.Getenv("DISPUTES_URL"), "http://127.0.0.1:50051"))
	if err != nil || service.Hostname() == "" || (service.Scheme != "http" && service.Scheme != "https") {
		return nil, errors.New("DISPUTES_URL is no http:// or https:// URL")
	}
	caller := caller{userID: os.Getenv("DISPUTES_USER_ID"), tokenFile: os.Getenv("DISPUTES_TOKEN_FILE")}
	if caller.tokenFile == "" && caller.userID == "" || caller.tokenFile != "" && service.Scheme != "https" {
		return nil, errors.New("set DISPUTES_USER_ID; or DISPUTES_TOKEN_FILE, and a DISPUTES_URL that begins with https://")
	}
	transport, port := insecure.NewCredentials(), "80"
	if service.Scheme == "https" {
		transport, port = credentials.NewTLS(&tls.Config{}), "443"
		if ca := os.Getenv("DISPUTES_CA"); ca != "" {
			if transport, err = credentials.NewClientTLSFromFile(ca, ""); err != nil {
				return nil, err
			}
		}
	}
	// Without the scheme, a host called "unix" would be taken for one.
	target := "dns:///" + net.JoinHostPort(service.Hostname(), cmp.Or(service.Port(), port))
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(caller),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // No look-up in DNS for another one, which takes time and would win.
	}
	return func() (*grpc.ClientConn, error) { return grpc.NewClient(target, options...) }, nil
}

// caller tells the service with each call, health checks included, who is calling.
type caller struct{ userID, tokenFile string }

func (c caller) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if c.tokenFile == "" {
		return map[string]string{"x-user-id": c.userID}, nil
	}
	token, err := os.ReadFile(c.tokenFile) // For each call, since tokens are replaced.
	if err != nil {
		// gRPC would make UNAUTHENTICATED of a plain error, and a watch would end for good.
		return nil, status.Error(codes.Unavailable, "DISPUTES_TOKEN_FILE: "+err.Error())
	}
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(token))}, nil
}

// RequireTransportSecurity makes gRPC refuse to send a token unencrypted.
func (c caller) RequireTransportSecurity() bool { return c.tokenFile != "" }
