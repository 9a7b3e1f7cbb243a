package disputes.watch;

import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import disputes.v1.DisputeEvent;
import disputes.v1.DisputeServiceGrpc;
import disputes.v1.WatchDisputesRequest;
import disputes.v1.WatchDisputesResponse;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.BlockingClientCall;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;

/**
 * Follows disputes: every event that matches a request and that the caller may see, in order, without gaps and without
 * repetitions, even if connections and servers fail meanwhile.
 *
 * <p>{@link #hasNext} blocks until there is something new. It throws a {@link StatusRuntimeException} if reconnecting cannot
 * help, for example when the request or the caller is refused, and whatever the function throws that connects; after
 * {@link #close}, it returns false. Messages are read only when they are asked for: a slow consumer holds one of them, besides
 * what HTTP/2's flow control allows.
 *
 * <p>For one thread, except for {@link #close}.
 */
public final class Watch implements Iterator<Watch.Batch>, AutoCloseable {
    /**
     * Events, and the position after them.
     *
     * @param events up to 256 events, in log order; empty if only the token has advanced
     * @param resumeToken to be stored once the events are processed: a watch that starts with it continues from here
     * @param snapshotComplete whether the requested snapshot is complete with this batch
     */
    public record Batch(List<DisputeEvent> events, String resumeToken, boolean snapshotComplete) {}

    private static final System.Logger LOGGER = System.getLogger(Watch.class.getName());
    /** The maximum interval between messages, until the request or the service states one; and the shortest there is. */
    private static final Duration HEARTBEAT = Duration.ofSeconds(15), SHORTEST_HEARTBEAT = Duration.ofSeconds(1);
    /** After how many heartbeats without a message a stream is dead. */
    private static final int HEARTBEATS = 3;
    private static final long FIRST_DELAY_MS = 100, LONGEST_DELAY_MS = 10_000;
    /** How many disputes are remembered. */
    private static final int DISPUTES = 131_072;

    private final Supplier<ManagedChannel> connect;
    private final CountDownLatch closed = new CountDownLatch(1);
    /** The highest yielded revision of those disputes that most recently had an event. */
    private final Map<String, Long> revisions = new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Long> eldest) {
            return size() > DISPUTES;
        }
    };
    /** The request of the next attempt: with the last token, once there is one. */
    private WatchDisputesRequest request;
    private Duration heartbeat;
    private volatile ManagedChannel channel;
    private BlockingClientCall<?, WatchDisputesResponse> stream;
    /** Whether the stream was accepted: refusals come before its first message. */
    private boolean accepted;
    private int failures;
    private String yieldedToken;
    private Batch next;

    /**
     * Connects only when it is asked for something.
     *
     * @param connect makes a channel with the caller's credentials, a new one before each attempt: an old one would keep its
     *     connection, even if that has gone silent
     * @param request selects the events, and the start until a token was received
     */
    public Watch(Supplier<ManagedChannel> connect, WatchDisputesRequest request) {
        this.connect = connect;
        this.request = request;
        heartbeat = request.hasHeartbeatInterval() ? duration(request.getHeartbeatInterval()) : HEARTBEAT;
    }

    @Override
    public boolean hasNext() {
        try {
            while (next == null && !isClosed()) {
                try {
                    next = newPart(receive());
                } catch (StatusException error) {
                    recover(error);
                }
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            close();
        }
        return next != null && !isClosed();
    }

    @Override
    public Batch next() {
        // What hasNext has promised is kept, even if the watch was closed since.
        if (next == null && !hasNext()) {
            throw new NoSuchElementException();
        }
        var batch = next;
        next = null;
        return batch;
    }

    /** Ends the watch, also while another thread waits in it. */
    @Override
    public void close() {
        closed.countDown();
        if (channel != null) {
            // shutdown() would let the stream go on for ever.
            channel.shutdownNow();
        }
    }

    private boolean isClosed() {
        return closed.getCount() == 0;
    }

    /** Returns the next message of the stream; of a new one, if there is none. */
    private WatchDisputesResponse receive() throws StatusException, InterruptedException {
        if (stream == null) {
            channel = connect.get();
            if (isClosed()) {
                channel.shutdownNow(); // close() came too early to see this channel.
            }
            stream = DisputeServiceGrpc.newBlockingV2Stub(channel).watchDisputes(request);
            accepted = false;
        }
        try {
            // Not a deadline: that would limit the whole stream.
            var message = stream.read(patience(), TimeUnit.MILLISECONDS);
            if (message == null) {
                throw Status.UNAVAILABLE.withDescription("the stream ended without an error").asException();
            }
            accepted = true;
            return message;
        } catch (TimeoutException silence) {
            throw Status.DEADLINE_EXCEEDED.withDescription("no message arrived for three heartbeats").asException();
        }
    }

    /** How long to wait for a message. A request for heartbeats that are too short is given the time to be refused. */
    private long patience() {
        return Math.max(heartbeat.toMillis(), SHORTEST_HEARTBEAT.toMillis()) * HEARTBEATS;
    }

    /** The new part of a message; null if there is none. */
    private Batch newPart(WatchDisputesResponse message) {
        var checkpoint = message.getCheckpoint();
        if (checkpoint.hasHeartbeatInterval()) {
            heartbeat = duration(checkpoint.getHeartbeatInterval());
        }
        // A server that always fails after its first message must not be called without a pause.
        if (!checkpoint.getSubscribed()) {
            failures = 0;
        }
        // The token replaces the start; one from within a snapshot requests the rest by itself.
        var token = message.getResumeToken();
        request = request.toBuilder().setResumeToken(token).setIncludeSnapshot(false).build();
        var events = message.getEventsList().stream().filter(this::isNew).toList();
        if (events.isEmpty() && token.equals(yieldedToken) && !checkpoint.getSnapshotComplete()) {
            return null;
        }
        yieldedToken = token;
        return new Batch(events, token, checkpoint.getSnapshotComplete());
    }

    /** Whether nothing that was yielded reflects the event. A snapshot carries the revision of the dispute's last event. */
    private boolean isNew(DisputeEvent event) {
        var disputeId = event.getDispute().getDisputeId();
        if (revisions.getOrDefault(disputeId, 0L) >= event.getRevision()) {
            return false;
        }
        revisions.put(disputeId, event.getRevision());
        return true;
    }

    /** Waits before the next attempt, or throws the error if there should be none. */
    private void recover(StatusException error) throws InterruptedException {
        channel.shutdownNow();
        stream = null;
        if (isClosed()) {
            return;
        }
        if (isFinal(error, accepted)) {
            close();
            var refusal = error.getStatus().asRuntimeException(error.getTrailers());
            refusal.addSuppressed(error); // Its cause is that of the status already.
            throw refusal;
        }
        // All of it is jitter, so that clients do not come back all at once.
        var most = Math.min(FIRST_DELAY_MS << Math.min(failures++, 10), LONGEST_DELAY_MS);
        var requested = ServiceErrors.detail(error, RetryInfo.class).map(info -> duration(info.getRetryDelay())).orElse(Duration.ZERO);
        var delay = requested.toMillis() + ThreadLocalRandom.current().nextLong(most + 1);
        var why = error.getStatus().getCode() + ": " + ServiceErrors.explain(error.getStatus());
        LOGGER.log(Level.WARNING, "the watch was interrupted ({0}); reconnecting in {1} ms", why, Long.toString(delay));
        closed.await(delay, TimeUnit.MILLISECONDS);
    }

    /** Whether the same request would only lead to the same error. */
    private static boolean isFinal(StatusException error, boolean accepted) {
        var reason = ServiceErrors.detail(error, ErrorInfo.class).map(ErrorInfo::getReason).orElse("");
        return switch (error.getStatus().getCode()) {
            // A stream ends when its credential expires; with a new one it can continue.
            case UNAUTHENTICATED -> !(accepted && reason.equals("CREDENTIAL_EXPIRED"));
            // Everything else that is exhausted recovers.
            case RESOURCE_EXHAUSTED -> reason.equals("MESSAGE_TOO_LARGE");
            case INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE,
                    UNIMPLEMENTED, DATA_LOSS -> true;
            case OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, ABORTED, INTERNAL, UNAVAILABLE -> false;
        };
    }

    private static Duration duration(com.google.protobuf.Duration duration) {
        return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
    }
}
