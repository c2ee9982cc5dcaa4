"""What users can fix, in one line."""

from guideplug import GuideplugError

__all__ = ["DivergedError", "LearnedError"]


class LearnedError(GuideplugError, ValueError):
    """What was asked for cannot work: the guider, the condition, the reward or the file; nothing was fitted."""

    exit_code = 2


class DivergedError(GuideplugError):
    """A fit met a value that is not finite; the message names the step."""
