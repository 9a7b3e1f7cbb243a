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
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Executor;

/** Where the service is, and who calls. */
public final class Connection {
    private final String target;
    private final ChannelCredentials credentials;
    private final Map<String, ?> serviceConfig;

    /** As these variables say: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE or DISPUTES_USER_ID. */
    public Connection(Map<String, String> environment) throws IOException {
        var url = URI.create(environment.getOrDefault("DISPUTES_URL", "http://127.0.0.1:50051"));
        var tokenFile = environment.get("DISPUTES_TOKEN_FILE");
        var userId = environment.get("DISPUTES_USER_ID");
        var isTls = "https".equals(url.getScheme());
        if (url.getHost() == null || !isTls && !"http".equals(url.getScheme())) {
            throw new IllegalArgumentException("DISPUTES_URL is not a URL such as http://127.0.0.1:50051");
        }
        target = "dns:///" + url.getAuthority();
        // The library itself would send a token in plain text.
        if (tokenFile == null ? userId == null : !isTls) {
            throw new IllegalArgumentException(
                    "Set DISPUTES_USER_ID; or DISPUTES_TOKEN_FILE, and a DISPUTES_URL that begins with https://.");
        }
        ChannelCredentials transport = InsecureChannelCredentials.create();
        if (isTls) {
            var tls = TlsChannelCredentials.newBuilder();
            if (environment.containsKey("DISPUTES_CA")) {
                tls.trustManager(new File(environment.get("DISPUTES_CA")));
            }
            transport = tls.build();
        }
        credentials = CompositeChannelCredentials.create(transport, new Identity(tokenFile, userId));
        try (var json = new InputStreamReader(Connection.class.getResourceAsStream("/service_config.json"))) {
            serviceConfig = new Gson().fromJson(json, new TypeToken<Map<String, Object>>() {});
        }
    }

    /** A new channel. Deadlines, retries, waiting until the service is there and healthy: the service config says it. */
    public ManagedChannel open() {
        return Grpc.newChannelBuilder(target, credentials).defaultServiceConfig(serviceConfig).build();
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
                var headers = new Metadata();
                try {
                    if (tokenFile == null) {
                        headers.put(key("x-user-id"), userId);
                    } else {
                        headers.put(key("authorization"), "Bearer " + Files.readString(Path.of(tokenFile)).strip());
                    }
                    applier.apply(headers);
                } catch (IOException error) {
                    applier.fail(Status.UNAVAILABLE.withDescription("the token cannot be read: " + error));
                }
            });
        }

        private static Metadata.Key<String> key(String name) {
            return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
        }
    }
}
