"""The parts that a batch goes through a network in."""

__all__ = ["parts_of"]


def parts_of(count: int, parts: int, *, whole: bool = True) -> list[slice | None]:
    """The rows of each part that goes through a network at once, of the first ``count``.

    Args:
        count: how many rows there are, or are wanted.
        parts: how many parts, at most.
        whole: whether ``count`` are all rows; a single part of all is None.
    """
    if parts == 1:
        return [None] if whole else [slice(0, count)]
    size = -(-count // parts)
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
