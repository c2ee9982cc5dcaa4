"""The parts of a batch in separate calls of a network."""

__all__ = ["parts_of"]


def parts_of(count: int, parts: int, *, whole: bool = True) -> list[slice | None]:
    """The rows of each part of the first ``count`` rows.

    Args:
        count: the number of rows.
        parts: the largest number of parts.
        whole: whether ``count`` are all rows; a single part of all rows is None.
    """
    if parts == 1:
        return [None] if whole else [slice(0, count)]
    size = -(-count // parts)
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
