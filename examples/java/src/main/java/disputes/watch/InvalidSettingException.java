package disputes.watch;

/** Something that was set for the program cannot be used: the message is for whoever set it. */
public final class InvalidSettingException extends IllegalArgumentException {
    public InvalidSettingException(String message) {
        super(message);
    }
}
