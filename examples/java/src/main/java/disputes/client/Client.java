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
import disputes.watch.ServiceErrors;
import disputes.watch.TokenFile;
import disputes.watch.Watch;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.time.Instant;
import java.util.UUID;

/** A client of dispute-service: offers a partial refund as a seller, and follows the disputes that its user may see. */
public final class Client {
    private static final String USAGE = """
            usage: client offer ORDER_ID AMOUNT MESSAGE (AMOUNT such as 12.50), or client watch [TOKEN_FILE]
            environment: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE (with https only) or DISPUTES_USER_ID""";

    public static void main(String[] arguments) {
        var status = 1;
        try {
            run(new Connection(System.getenv()), arguments);
            status = 0;
        } catch (IllegalArgumentException unusable) {
            System.err.println(unusable.getMessage());
            status = 2;
        } catch (StatusRuntimeException error) {
            System.err.println(ServiceErrors.describe(error));
        } catch (IOException error) {
            System.err.println(error);
        }
        // Not System.exit, which waits for the shutdown hook of `watch`, which waits for this thread.
        Runtime.getRuntime().halt(status);
    }

    private static void run(Connection connection, String[] arguments) throws IOException {
        switch (arguments.length == 0 ? "" : arguments[0] + " " + arguments.length) {
            case "offer 4" -> offer(connection, arguments[1], parse(arguments[2]), arguments[3]);
            case "watch 1" -> watch(connection, null);
            case "watch 2" -> watch(connection, new TokenFile(Path.of(arguments[1])));
            default -> throw new IllegalArgumentException(USAGE);
        }
    }

    private static void offer(Connection connection, String orderId, Money.Builder amount, String message) {
        var channel = connection.open();
        var get = GetOrderRequest.newBuilder().setOrderId(orderId).build();
        var order = OrderServiceGrpc.newBlockingStub(channel).getOrder(get).getOrder();
        var request = OfferPartialRefundRequest.newBuilder()
                // With one id the offer is made once, however often the library sends the request.
                .setRequestId(UUID.randomUUID().toString())
                .setOrderId(orderId)
                .setAmount(amount.setCurrencyCode(order.getPrice().getCurrencyCode()))
                .setMessage(message)
                .setReason(Reason.REASON_BUYER_PARTLY_DISSATISFIED) // One of those that ListReasons names.
                .build();
        var dispute = DisputeServiceGrpc.newBlockingStub(channel).offerPartialRefund(request).getDispute();
        channel.shutdownNow();
        var status = dispute.getStatus().name().replaceFirst("^DISPUTE_STATUS_", "");
        var respondBy = Instant.ofEpochSecond(dispute.getRespondBy().getSeconds());
        System.out.println(dispute.getDisputeId() + " " + status + " " + respondBy);
    }

    /** The amount in some currency; exactly, as a double has no 0.10. */
    private static Money.Builder parse(String amount) {
        if (!amount.matches("[0-9]{1,15}(\\.[0-9]{1,9})?")) {
            throw new IllegalArgumentException(amount + " is not an amount such as 12.50");
        }
        var units = new BigDecimal(amount).divideAndRemainder(BigDecimal.ONE);
        return Money.newBuilder().setUnits(units[0].longValueExact()).setNanos(units[1].movePointRight(9).intValueExact());
    }

    private static void watch(Connection connection, TokenFile file) throws IOException {
        var request = WatchDisputesRequest.newBuilder().setHeartbeatInterval(Duration.newBuilder().setSeconds(5));
        request = file == null ? request.setIncludeSnapshot(true) : file.start(request);
        try (var watch = new Watch(connection::open, request.build())) {
            watch.closeOnSignal();
            var greeting = "watching\n";
            while (watch.hasNext()) {
                var batch = watch.next();
                System.err.print(greeting);
                greeting = "";
                for (var event : batch.events()) {
                    var kind = event.getType().name().replaceFirst("^EVENT_TYPE_", "");
                    var dispute = event.getDispute();
                    System.out.println(String.join(" ", kind, dispute.getOrderId(), dispute.getDisputeId(),
                            Long.toString(event.getRevision())));
                }
                if (System.out.checkError()) { // println reports no error.
                    throw new IOException("the standard output is closed");
                }
                if (file != null) {
                    file.store(batch.resumeToken());
                }
            }
        }
    }
}
