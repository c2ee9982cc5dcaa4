"""What users can fix, in one line."""

from guideplug import GuideplugError

__all__ = ["DivergedError", "LearnedError"]


class LearnedError(GuideplugError, ValueError):
    """A fit cannot start: an invalid guider, condition, reward or file."""

    exit_code = 2


class DivergedError(GuideplugError):
    """A fit met a value that is not finite; the message names the step."""
