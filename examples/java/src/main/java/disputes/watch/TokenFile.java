package disputes.watch;

import disputes.v1.WatchDisputesRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** Where a watch that is started again continues. */
public record TokenFile(Path path) {
    /** Has a request begin with the token of the file or, where there is none yet, with a snapshot. */
    public WatchDisputesRequest.Builder start(WatchDisputesRequest.Builder request) throws IOException {
        return Files.exists(path) ? request.setResumeToken(Files.readString(path)) : request.setIncludeSnapshot(true);
    }

    /** Keeps the token of a batch whose events were handled: by a rename, so that it is never half. */
    public void store(String token) throws IOException {
        var written = path.resolveSibling(path.getFileName() + ".new");
        Files.writeString(written, token);
        Files.move(written, path, StandardCopyOption.ATOMIC_MOVE);
    }
}
