"""memory: what the C library does with memory that is not needed any more."""

import ctypes

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 256 * 1024


def return_large_blocks() -> None:
    """Have blocks of this size and more given back to the system as soon as they are free. By itself glibc raises the
    limit with each that it frees: a few answers of some MiB would make the process larger for good."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # musl has none, and keeps nothing
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
