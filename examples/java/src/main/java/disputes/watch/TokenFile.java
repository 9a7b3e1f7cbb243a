package disputes.watch;

import disputes.v1.WatchDisputesRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** Where a watch that is started again continues: one file for each user and filter. */
public record TokenFile(Path path) {
    /**
     * Has a request begin with the token of the file or, where there is none yet, with a snapshot.
     *
     * @throws InvalidSettingException if the file cannot be one that {@link #store} has written, or could not be written later
     */
    public WatchDisputesRequest.Builder start(WatchDisputesRequest.Builder request) throws IOException {
        if (Files.exists(path) && !Files.isRegularFile(path)) {
            throw new InvalidSettingException(path + " is not a regular file, and would be replaced by one");
        }
        if (!Files.isWritable(path.toAbsolutePath().getParent())) {
            throw new InvalidSettingException(path + " cannot be written: its folder is missing or read-only");
        }
        if (!Files.exists(path)) {
            return request.setIncludeSnapshot(true);
        }
        var token = Files.readString(path).strip();
        if (token.isEmpty()) {
            // To the service it would mean "from now on": a silent gap.
            throw new InvalidSettingException(path + " is empty: remove it, and the watch begins with a snapshot");
        }
        return request.setResumeToken(token);
    }

    /** Keeps the token of a batch whose events were handled. By a rename, so that the file is always complete. */
    public void store(String token) throws IOException {
        var written = path.resolveSibling(path.getFileName() + ".new");
        // SYNC: on the disk before the rename, or a power failure could leave an empty file.
        Files.writeString(written, token, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING,
                StandardOpenOption.WRITE, StandardOpenOption.SYNC);
        Files.move(written, path, StandardCopyOption.ATOMIC_MOVE);
    }
}
