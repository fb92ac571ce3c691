"""What the commands end with."""

DONE, FAILED, USAGE = 0, 1, 2

EXIT_CODES = "exit codes: 0 played, and every account agrees; 1 failed, or the audit found a difference; 2 wrong usage"
