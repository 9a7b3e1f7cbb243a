package disputes.client;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import com.google.protobuf.Duration;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.type.Money;
import disputes.v1.DisputeServiceGrpc;
import disputes.v1.GetOrderRequest;
import disputes.v1.OfferPartialRefundRequest;
import disputes.v1.OrderServiceGrpc;
import disputes.v1.Reason;
import disputes.v1.WatchDisputesRequest;
import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executor;

/** A client of dispute-service: offers a partial refund as a seller, and follows the disputes that its user may see. */
public final class Client {
    private static final String USAGE = """
            usage: client offer ORDER_ID AMOUNT MESSAGE
                   client watch [TOKEN_FILE]

            The environment says where the service is, DISPUTES_URL and perhaps DISPUTES_CA (a PEM file), and who calls:
            DISPUTES_TOKEN_FILE or, for a service that trusts its callers, DISPUTES_USER_ID.""";

    private final String target;
    private final ChannelCredentials credentials;
    private final Map<String, ?> serviceConfig;

    public static void main(String[] arguments) {
        var status = run(arguments);
        // Not System.exit, which waits for the shutdown hook of `watch`, which waits for this thread.
        Runtime.getRuntime().halt(status);
    }

    private static int run(String[] arguments) {
        try {
            switch (arguments.length == 0 ? "" : arguments[0] + " " + arguments.length) {
                case "offer 4" -> new Client(System.getenv()).offer(arguments[1], parse(arguments[2]), arguments[3]);
                case "watch 1" -> new Client(System.getenv()).watch(null);
                case "watch 2" -> new Client(System.getenv()).watch(Path.of(arguments[1]));
                default -> throw new IllegalArgumentException(USAGE);
            }
            return 0;
        } catch (IllegalArgumentException unusable) {
            System.err.println(unusable.getMessage());
            return 2;
        } catch (StatusRuntimeException error) {
            System.err.println(describe(error));
        } catch (IOException error) {
            System.err.println(error);
        }
        return 1;
    }

    private Client(Map<String, String> environment) throws IOException {
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
        try (var json = new InputStreamReader(Client.class.getResourceAsStream("/service_config.json"))) {
            serviceConfig = new Gson().fromJson(json, new TypeToken<Map<String, Object>>() {});
        }
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

    /** A new connection. Deadlines, retries, waiting until the service is there and healthy: the service config says it. */
    private ManagedChannel connect() {
        return Grpc.newChannelBuilder(target, credentials).defaultServiceConfig(serviceConfig).build();
    }

    private void offer(String orderId, Money amount, String message) {
        var channel = connect();
        try {
            var order = OrderServiceGrpc.newBlockingStub(channel)
                    .getOrder(GetOrderRequest.newBuilder().setOrderId(orderId).build())
                    .getOrder();
            var request = OfferPartialRefundRequest.newBuilder()
                    // With one id the offer is made once, however often the library sends the request.
                    .setRequestId(UUID.randomUUID().toString())
                    .setOrderId(orderId)
                    .setAmount(amount.toBuilder().setCurrencyCode(order.getPrice().getCurrencyCode()))
                    .setMessage(message)
                    .setReason(Reason.REASON_BUYER_PARTLY_DISSATISFIED) // One of those that ListReasons names.
                    .build();
            var dispute = DisputeServiceGrpc.newBlockingStub(channel).offerPartialRefund(request).getDispute();
            var status = dispute.getStatus().name().replaceFirst("^DISPUTE_STATUS_", "");
            var respondBy = Instant.ofEpochSecond(dispute.getRespondBy().getSeconds());
            System.out.println(dispute.getDisputeId() + " " + status + " " + respondBy);
        } finally {
            channel.shutdownNow();
        }
    }

    /** The amount in some currency; exactly, as a double has no 0.10. */
    private static Money parse(String amount) {
        if (!amount.matches("[0-9]{1,15}(\\.[0-9]{1,9})?")) {
            throw new IllegalArgumentException(amount + " is not an amount such as 12.50");
        }
        var unitsAndRest = new BigDecimal(amount).divideAndRemainder(BigDecimal.ONE);
        return Money.newBuilder()
                .setUnits(unitsAndRest[0].longValueExact())
                .setNanos(unitsAndRest[1].movePointRight(9).intValueExact())
                .build();
    }

    private void watch(Path tokenFile) throws IOException {
        var request = WatchDisputesRequest.newBuilder().setHeartbeatInterval(Duration.newBuilder().setSeconds(5));
        if (tokenFile != null && Files.exists(tokenFile)) {
            request.setResumeToken(Files.readString(tokenFile));
        } else {
            request.setIncludeSnapshot(true);
        }
        try (var watch = new Watch(this::connect, request.build())) {
            closeOnSignal(watch);
            var greeting = "watching\n";
            while (watch.hasNext()) {
                var batch = watch.next();
                System.err.print(greeting);
                greeting = "";
                for (var event : batch.events()) {
                    var dispute = event.getDispute();
                    System.out.println(event.getType().name().replaceFirst("^EVENT_TYPE_", "") + " " + dispute.getOrderId()
                            + " " + dispute.getDisputeId() + " " + event.getRevision());
                }
                if (System.out.checkError()) { // println reports no error.
                    throw new IOException("the standard output is closed");
                }
                if (tokenFile != null) { // After the events were handled, and never half.
                    var written = tokenFile.resolveSibling(tokenFile.getFileName() + ".new");
                    Files.writeString(written, batch.resumeToken());
                    Files.move(written, tokenFile, StandardCopyOption.ATOMIC_MOVE);
                }
            }
        }
    }

    /** Ends the program with code 0 when it is stopped, where the JVM's own code would be 130 or 143. */
    private static void closeOnSignal(Watch watch) {
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            watch.close();
            try {
                main.join(1_000); // It finishes the batch at hand, and halts.
            } catch (InterruptedException ignored) {
                // Halts here.
            }
            Runtime.getRuntime().halt(0);
        }));
    }

    /** What an error of the service says, in full: code and reason, facts, and everything that is wrong with the request. */
    private static String describe(StatusRuntimeException error) {
        var info = Watch.detail(error, ErrorInfo.class).orElse(ErrorInfo.getDefaultInstance());
        var request = Watch.detail(error, BadRequest.class).orElse(BadRequest.getDefaultInstance());
        var text = new StringBuilder(error.getStatus().getCode().name());
        text.append(" ".repeat(info.getReason().isEmpty() ? 0 : 1)).append(info.getReason());
        text.append(": ").append(Watch.explain(error.getStatus()));
        info.getMetadataMap().forEach((key, value) -> text.append("\n  " + key + ": " + value));
        request.getFieldViolationsList().forEach(it -> text.append("\n  " + it.getField() + ": " + it.getDescription()));
        return text.toString();
    }
}
