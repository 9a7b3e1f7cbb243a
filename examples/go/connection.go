package main

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // Without it, there are no health checks but a line in the log.
	"google.golang.org/grpc/status"

	"dispute-service/watch"
)

// serviceConfig has retries, deadlines, health checks, and waiting for a service that is not there yet.
//
//go:embed service_config.json
var serviceConfig string

// connector returns what makes connections as the environment says: DISPUTES_URL, DISPUTES_CA, and who the caller is.
func connector() (watch.Connect, error) {
	service, err := url.Parse(cmp.Or(os.Getenv("DISPUTES_URL"), "http://127.0.0.1:50051"))
	if err != nil || service.Hostname() == "" || (service.Scheme != "http" && service.Scheme != "https") {
		return nil, usageError("DISPUTES_URL is no http:// or https:// URL")
	}
	caller := caller{userID: os.Getenv("DISPUTES_USER_ID"), tokenFile: os.Getenv("DISPUTES_TOKEN_FILE")}
	transport, port := insecure.NewCredentials(), "80"
	if service.Scheme == "https" {
		transport, port = credentials.NewTLS(&tls.Config{}), "443"
	}
	if ca := os.Getenv("DISPUTES_CA"); ca != "" && service.Scheme == "https" {
		if transport, err = credentials.NewClientTLSFromFile(ca, ""); err != nil {
			return nil, usageError("DISPUTES_CA: " + err.Error())
		}
	}
	switch {
	case caller.tokenFile == "" && caller.userID == "":
		return nil, usageError("set DISPUTES_TOKEN_FILE or, for a service with --auth dev, DISPUTES_USER_ID")
	case caller.tokenFile != "" && service.Scheme != "https":
		return nil, usageError("DISPUTES_TOKEN_FILE: a token is sent over https:// only")
	}
	if _, err := caller.GetRequestMetadata(context.Background()); err != nil {
		return nil, usageError(status.Convert(err).Message())
	}
	// Without the scheme, a host called "unix" would be taken for one.
	target := "dns:///" + net.JoinHostPort(service.Hostname(), cmp.Or(service.Port(), port))
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(caller),
		grpc.WithUnaryInterceptor(call),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // No look-up in DNS for another one, which takes time and would win.
	}
	return func() (*grpc.ClientConn, error) { return grpc.NewClient(target, options...) }, nil
}

// call bounds a whole call: the timeout in the service config begins only when the name is resolved. And it makes it again
// if the connection broke in the middle of the answer: gRPC retries only until the first headers arrive. Safe for reads,
// and for commands with a request_id.
func call(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := invoke(ctx, method, request, reply, conn, options...)
	if status.Code(err) == codes.Unavailable {
		err = invoke(ctx, method, request, reply, conn, options...)
	}
	return err
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
