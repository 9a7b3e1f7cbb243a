package disputes.watch;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Executor;

/** Where the service is, and who calls. */
public final class Connection {
    private static final String SERVICE_CONFIG = "/service_config.json";

    private final String target;
    private final ChannelCredentials credentials;
    private final Map<String, ?> serviceConfig;

    /**
     * As these variables say: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE or DISPUTES_USER_ID.
     *
     * @throws InvalidSettingException if one of them cannot be used
     * @throws IOException if a file that they name cannot be read
     */
    public Connection(Map<String, String> environment) throws IOException {
        var url = environment.getOrDefault("DISPUTES_URL", "http://127.0.0.1:50051");
        var tokenFile = environment.get("DISPUTES_TOKEN_FILE");
        var userId = environment.get("DISPUTES_USER_ID");
        var isTls = url.startsWith("https:");
        if (!url.matches("https?://([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+]):[0-9]{1,5}/?")) {
            throw new InvalidSettingException("DISPUTES_URL must be such as http://127.0.0.1:50051, with a port, without a path,"
                    + " and with no underscore in the host, which gRPC for Java does not resolve; it is " + url);
        }
        // Without the scheme, a host could be taken for one; with it, the brackets of [::1] have to be escaped.
        target = "dns:///" + url.split("/")[2].replace("[", "%5B").replace("]", "%5D");
        // The library itself would send a token in plain text.
        if ((tokenFile == null) == (userId == null) || tokenFile != null && !isTls) {
            throw new InvalidSettingException(
                    "Set either DISPUTES_USER_ID; or DISPUTES_TOKEN_FILE, and a DISPUTES_URL that begins with https://.");
        }
        var identity = new Identity(tokenFile, userId);
        identity.headers(); // Later, a call would wait for a token that can be sent, and not say why.
        var transport = isTls ? tls(environment.get("DISPUTES_CA")) : InsecureChannelCredentials.create();
        credentials = CompositeChannelCredentials.create(transport, identity);
        var resource = Objects.requireNonNull(Connection.class.getResourceAsStream(SERVICE_CONFIG),
                "There is no " + SERVICE_CONFIG + " on the class path: copy it to src/main/resources.");
        try (var json = new InputStreamReader(resource, StandardCharsets.UTF_8)) {
            serviceConfig = new Gson().fromJson(json, new TypeToken<Map<String, Object>>() {});
        }
    }

    /** A new channel. Deadlines, retries, waiting until the service is there and healthy: the service config says it. */
    public ManagedChannel open() {
        return Grpc.newChannelBuilder(target, credentials).defaultServiceConfig(serviceConfig).build();
    }

    private static ChannelCredentials tls(String ca) throws IOException {
        if (ca == null) {
            return TlsChannelCredentials.create();
        }
        var pem = Files.readAllBytes(Path.of(ca));
        try {
            if (CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(pem)).isEmpty()) {
                throw new CertificateException("it has none");
            }
        } catch (CertificateException error) {
            throw new InvalidSettingException("DISPUTES_CA has no certificates in PEM: " + error.getMessage());
        }
        return TlsChannelCredentials.newBuilder().trustManager(new ByteArrayInputStream(pem)).build();
    }

    /** Says who calls, for each attempt of a call: an interceptor would give a retry the token of the first attempt. */
    private static final class Identity extends CallCredentials {
        private final String tokenFile;
        private final String userId;

        private Identity(String tokenFile, String userId) {
            this.tokenFile = tokenFile;
            this.userId = userId;
        }

        @Override
        public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
            executor.execute(() -> { // Reads a file, which would hold up the network's thread.
                try {
                    applier.apply(headers());
                } catch (IOException missing) { // Perhaps only for a moment: a watch tries again.
                    applier.fail(Status.UNAVAILABLE.withDescription("the token cannot be read: " + missing));
                } catch (RuntimeException error) { // Without any answer, the call would hang.
                    applier.fail(Status.UNAUTHENTICATED.withDescription(error.getMessage()).withCause(error));
                }
            });
        }

        private Metadata headers() throws IOException {
            var headers = new Metadata();
            if (tokenFile == null) {
                headers.put(key("x-user-id"), sendable("DISPUTES_USER_ID", userId));
            } else {
                var token = Files.readString(Path.of(tokenFile), StandardCharsets.ISO_8859_1).strip();
                headers.put(key("authorization"), "Bearer " + sendable(tokenFile, token));
            }
            return headers;
        }

        /** The library sends "?" for letters that are not ASCII, and logs a header with a line break in full: also a token. */
        private static String sendable(String name, String value) {
            if (!value.matches("[!-~]+")) {
                throw new InvalidSettingException(name + " is empty, or has characters that are not visible ASCII");
            }
            return value;
        }

        private static Metadata.Key<String> key(String name) {
            return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
        }
    }
}
