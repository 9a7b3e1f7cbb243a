package disputes.client;

import com.google.protobuf.Duration;
import com.google.type.Money;
import disputes.v1.DisputeServiceGrpc;
import disputes.v1.GetOrderRequest;
import disputes.v1.OfferPartialRefundRequest;
import disputes.v1.OrderServiceGrpc;
import disputes.v1.Reason;
import disputes.v1.WatchDisputesRequest;
import disputes.watch.Connection;
import disputes.watch.InvalidSettingException;
import disputes.watch.ServiceErrors;
import disputes.watch.TokenFile;
import disputes.watch.Watch;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.time.Instant;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A client of dispute-service: offers a partial refund as a seller, and follows the disputes that its user may see. */
public final class Client {
    private static final String USAGE = """
            usage: client offer ORDER_ID AMOUNT MESSAGE (AMOUNT such as 12.50), or client watch [TOKEN_FILE]
            environment: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE (with https only) or DISPUTES_USER_ID""";
    private static final CompletableFuture<Integer> STATUS = new CompletableFuture<>(); // Complete when the program is.

    public static void main(String[] arguments) {
        System.getProperties().putIfAbsent("java.util.logging.SimpleFormatter.format", "%4$s: %5$s%n"); // One line each.
        var status = 1;
        try {
            switch (arguments.length == 0 ? "" : arguments[0] + " " + arguments.length) {
                case "offer 4" -> offer(arguments[1], parseAmount(arguments[2]), arguments[3]);
                case "watch 1" -> watch(null);
                case "watch 2" -> watch(new TokenFile(Path.of(arguments[1])));
                default -> throw new InvalidSettingException(USAGE);
            }
            status = System.out.checkError() ? 1 : 0;
        } catch (InvalidSettingException unusable) {
            System.err.println(unusable.getMessage());
            status = 2;
        } catch (StatusRuntimeException error) {
            System.err.println(ServiceErrors.describe(error));
        } catch (IOException error) {
            System.err.println(error);
        } catch (Throwable bug) {
            bug.printStackTrace();
        }
        STATUS.complete(status);
        System.exit(status);
    }

    private static void offer(String orderId, Money.Builder amount, String message) throws IOException {
        if (message.contains("\uFFFD")) {
            throw new InvalidSettingException("MESSAGE has letters that Java could not read: set LC_ALL=C.UTF-8");
        }
        var channel = new Connection(System.getenv()).open();
        try {
            var get = GetOrderRequest.newBuilder().setOrderId(orderId).build();
            var price = OrderServiceGrpc.newBlockingStub(channel).getOrder(get).getOrder().getPrice();
            var request = OfferPartialRefundRequest.newBuilder()
                    // With one id the offer is made once, however often the library sends the request.
                    .setRequestId(UUID.randomUUID().toString())
                    .setOrderId(orderId).setMessage(message).setAmount(amount.setCurrencyCode(price.getCurrencyCode()))
                    .setReason(Reason.REASON_BUYER_PARTLY_DISSATISFIED).build(); // ListReasons names those that can be given.
            var dispute = DisputeServiceGrpc.newBlockingStub(channel).offerPartialRefund(request).getDispute();
            var status = dispute.getStatus().name().replaceFirst("^DISPUTE_STATUS_", "");
            var respondBy = Instant.ofEpochSecond(dispute.getRespondBy().getSeconds());
            System.out.println(dispute.getDisputeId() + " " + status + " " + respondBy);
        } finally {
            channel.shutdownNow();
        }
    }

    /** The amount in some currency; exactly, as a double has no 0.10. */
    private static Money.Builder parseAmount(String amount) {
        if (!amount.matches("[0-9]{1,15}(\\.[0-9]{1,9})?")) {
            throw new InvalidSettingException("AMOUNT must be such as 12.50; it is \"" + amount + "\"");
        }
        var units = new BigDecimal(amount).divideAndRemainder(BigDecimal.ONE);
        return Money.newBuilder().setUnits(units[0].longValueExact()).setNanos(units[1].movePointRight(9).intValueExact());
    }

    private static void watch(TokenFile file) throws IOException {
        var request = WatchDisputesRequest.newBuilder().setHeartbeatInterval(Duration.newBuilder().setSeconds(5));
        request = file == null ? request.setIncludeSnapshot(true) : file.start(request);
        try (var watch = new Watch(new Connection(System.getenv())::open, request.build())) {
            // For exit code 0 after SIGTERM, not 143. In a service, only close(): halt would cut its other hooks short.
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                watch.close();
                var status = STATUS.completeOnTimeout(null, 5, TimeUnit.SECONDS).join(); // The batch at hand is finished.
                if (status != null) {
                    Runtime.getRuntime().halt(status);
                }
            }));
            if (watch.hasNext()) {
                System.err.println("watching");
            }
            while (watch.hasNext()) {
                var batch = watch.next();
                for (var event : batch.events()) {
                    var type = event.getType().name().replaceFirst("^EVENT_TYPE_", "");
                    var dispute = event.getDispute();
                    System.out.printf("%s %s %s %d%n", type, dispute.getOrderId(), dispute.getDisputeId(), event.getRevision());
                }
                if (System.out.checkError()) { // printf reports no error.
                    throw new IOException("the standard output is closed or full");
                }
                if (file != null) {
                    file.store(batch.resumeToken());
                }
            }
        }
    }
}
