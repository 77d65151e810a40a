"""The binding of the machine's limits, for benchmarks; part of _core.pyx."""


def read_probe(cnp.ndarray array not None, int threads=0):
    """Read a contiguous array as fast as memory allows."""
    cdef fl_probe probe
    cdef fl_work work
    cdef fl_partial total
    cdef int code
    probe.from_ = cnp.PyArray_BYTES(array)
    probe.to = NULL
    work.tile, work.job = chosen.table[0].read, &probe
    work.items = work.cost = cnp.PyArray_NBYTES(array)
    work.tile_items = 4 * FL_TILE
    work.scratch = 0
    work.threads = threads
    with nogil:
        code = fl_run(&work, &total)
    check(code)
    return total.sum


def copy_probe(cnp.ndarray source not None, cnp.ndarray to not None, int threads=0):
    """Copy a contiguous array to another of its size by stores that bypass the cache."""
    cdef fl_probe probe
    cdef fl_work work
    cdef fl_partial total
    cdef int code
    if cnp.PyArray_NBYTES(source) != cnp.PyArray_NBYTES(to):
        raise ValueError("copy_probe: the arrays differ in size")
    probe.from_ = cnp.PyArray_BYTES(source)
    probe.to = cnp.PyArray_BYTES(to)
    work.tile, work.job = chosen.table[0].copy, &probe
    work.items = work.cost = cnp.PyArray_NBYTES(source)
    work.tile_items = 4 * FL_TILE
    work.scratch = 0
    work.threads = threads
    with nogil:
        code = fl_run(&work, &total)
    check(code)
