package disputes.watch;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Objects;
import java.util.Optional;

/** Reads the errors of the service. */
public final class ServiceErrors {
    private ServiceErrors() {}

    /** What an error says, in full: code and reason, facts, and everything that is wrong with the request. */
    public static String describe(StatusRuntimeException error) {
        var info = detail(error, ErrorInfo.class).orElse(ErrorInfo.getDefaultInstance());
        var request = detail(error, BadRequest.class).orElse(BadRequest.getDefaultInstance());
        var text = new StringBuilder(error.getStatus().getCode().name());
        text.append(" ".repeat(info.getReason().isEmpty() ? 0 : 1)).append(info.getReason());
        text.append(": ").append(explain(error.getStatus()));
        info.getMetadataMap().forEach((key, value) -> text.append("\n  " + key + ": " + value));
        request.getFieldViolationsList().forEach(it -> text.append("\n  " + it.getField() + ": " + it.getDescription()));
        return text.toString();
    }

    /** The detail of this type that an error of the service carries: {@link ErrorInfo}, {@link BadRequest} … */
    public static <T extends Message> Optional<T> detail(Throwable error, Class<T> type) {
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(type)) {
                try {
                    return Optional.of(detail.unpack(type));
                } catch (InvalidProtocolBufferException malformed) {
                    return Optional.empty();
                }
            }
        }
        return Optional.empty();
    }

    /** What went wrong, in one line: the library's own descriptions can go on with a stack trace, and hide the root cause. */
    static String explain(Status status) {
        var text = Objects.requireNonNullElse(status.getDescription(), "").lines().findFirst().orElse("");
        var cause = status.getCause();
        while (cause != null && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause == null ? text : text + ": " + cause.getMessage();
    }
}
