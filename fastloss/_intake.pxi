# What an ordinary call hands over, recognised at once: NumPy arrays that need neither conversion nor broadcasting nor an
# error. What is not ordinary goes through arrays.py, which converts it or says what is wrong.

ABSENT = object()


cdef inline bint is_floating(cnp.ndarray array) except -1:
    return 0 <= dtype_code(array) <= FL_BF16


cdef inline bint is_double(cnp.ndarray array):
    return cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE


# Whether there is one element per row of `input`.
cdef bint has_rows(cnp.ndarray found, cnp.ndarray input, int axis):
    cdef int d, ndim = cnp.PyArray_NDIM(input)
    if cnp.PyArray_NDIM(found) != ndim - 1:
        return False
    for d in range(ndim - 1):
        if cnp.PyArray_DIM(found, d) != cnp.PyArray_DIM(input, d + (d >= axis)):
            return False
    return True


def row_facts(input, axis, label=ABSENT):
    """Of rows of classes along an axis, and class indices for them: the axis from 0 on, how many classes and rows there
    are, and whether they are computed in float64. None where anything is not as it must be."""
    cdef cnp.ndarray rows
    cdef long along
    cdef int overflow = 0
    cdef int64_t classes
    if not cnp.PyArray_CheckExact(input) or type(axis) is not int:
        return None
    rows = input
    along = PyLong_AsLongAndOverflow(axis, &overflow)
    if along < 0:
        along += cnp.PyArray_NDIM(rows)
    if overflow or not 0 <= along < cnp.PyArray_NDIM(rows) or not is_floating(rows):
        return None
    classes = cnp.PyArray_DIM(rows, along)
    if classes == 0:
        return None
    if label is not ABSENT:
        if not cnp.PyArray_CheckExact(label) or (<cnp.ndarray>label).descr.kind not in b"iub":
            return None
        if not has_rows(label, rows, along):
            return None
    return along, classes, cnp.PyArray_SIZE(rows) // classes, is_double(rows)


def operand_facts(tuple operands, int predictions):
    """Of a pointwise loss's operands, the first of them predictions: whether it is computed in float64; or -1 where one is
    no array of a dtype it may have, or neither of the first's shape nor a single number."""
    cdef cnp.ndarray first, other
    cdef int i, n = len(operands)
    for i in range(n):
        if not cnp.PyArray_CheckExact(operands[i]):
            return -1
    first = operands[0]
    for i in range(n):
        other = operands[i]
        if not (is_floating(other) if i < predictions else dtype_code(other) >= 0):
            return -1
        if i > 0 and cnp.PyArray_NDIM(other) > 0 and not cnp.PyArray_SAMESHAPE(first, other):
            return -1
    return is_double(first)
