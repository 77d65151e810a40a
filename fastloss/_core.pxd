# The C surface (csrc/fastloss.h) as the binding sees it; Cython reads this before _core.pyx.

from libc.stdint cimport int64_t, uint64_t, uintptr_t

cdef extern from "fastloss.h" nogil:
    enum:
        FL_MAX_DIM, FL_MAX_OPERANDS, FL_MAX_GRADS, FL_MAX_PARAMS, FL_ROW_OPERANDS, FL_TILE, FL_NARROW, FL_BLOCK
        FL_F32, FL_F64, FL_F16, FL_BF16, FL_I8, FL_U8, FL_I16, FL_U16, FL_I32, FL_U32, FL_I64, FL_U64
        FL_MODE_VALUE, FL_MODE_GRAD, FL_MODE_HESS, FL_PICKED
        FL_SUM_DIGITS, FL_TALLY_ARRAYS, FL_EVALUATED
        FL_PAIR_PARTS, FL_PRODUCT, FL_DISTANCE, FL_SQUARE
        FL_ENTIRE, FL_SCAN, FL_VALUE, FL_DERIVE

    ctypedef struct fl_array:
        char *data
        int dtype, swapped, ndim
        int64_t *shape
        int64_t *stride

    ctypedef struct fl_matrix:
        fl_array rows
        int64_t class_stride

    ctypedef struct fl_rows:
        fl_matrix matrix
        fl_array row

    ctypedef struct fl_partial:
        double sum, weight
        int64_t bad

    ctypedef void fl_tile(const void *, int64_t, int64_t, fl_partial *, void *)

    ctypedef struct fl_work:
        fl_tile *tile
        const void *job
        int64_t items, tile_items, cost, scratch
        int threads

    ctypedef struct fl_pointwise:
        int64_t size
        int operands
        fl_array *operand
        double *param
        double scale
        int weighted, sum, stream
        fl_array value, hess
        fl_array *grad

    ctypedef struct fl_carry:
        double max, count, rest, picked, dot, mass

    ctypedef struct fl_rowwise:
        int64_t count, classes, first_class, all_classes
        int phase
        fl_carry *carry
        fl_matrix input, dense
        fl_array label
        const void *upstream
        const void *weight
        double weight_sum
        int64_t ignore_index
        int has_ignore
        double *param
        double softcap, scale
        int stream
        int64_t origin
        void *value
        void **score
        int64_t *rank
        int64_t *prediction
        fl_matrix grad, hess

    ctypedef struct fl_rowsums:
        int64_t count, length
        fl_rows *operand
        fl_array label, number, upstream
        fl_rows labels
        const void *weight
        double *param
        double scale
        int stream
        void *value
        fl_rows *grad

    ctypedef struct fl_series:
        char *data
        int dtype, swapped
        int64_t step_stride, item_stride, class_stride

    ctypedef struct fl_sequences:
        int64_t count, classes, steps, labels
        fl_series input
        fl_array target
        const int64_t *length
        const int64_t *target_length
        const int64_t *first
        int64_t all_steps, blank
        int zero_infinity, by_length
        double scale
        int stream
        void *value
        fl_series grad

    ctypedef struct fl_points:
        int64_t columns, width
        const void *x
        const void *y
        const void *x_square
        const void *y_square

    ctypedef struct fl_distances:
        fl_points points
        void *pairs

    ctypedef struct fl_both_ways:
        int64_t columns
        void *pairs
        const void *rows_lse
        const void *columns_lse
        double scale

    ctypedef struct fl_pairwise:
        int64_t first
        const int64_t *begin
        const int64_t *end
        fl_points points
        void *pairs
        int metric
        double factor
        double *param
        int slopes
        double *sum
        int64_t *terms
        int64_t *picked
        void *factors

    ctypedef struct fl_sum:
        pass

    ctypedef struct fl_tally:
        const int64_t *first
        int arrays
        const void **value
        fl_sum *sum
        const int64_t *rank
        int bounds
        const int64_t *bound
        int64_t *within

    ctypedef struct fl_evaluation:
        fl_rowwise rows
        int64_t tile_items
        fl_sum *sum
        int bounds
        const int64_t *bound
        int64_t *within

    ctypedef struct fl_table:
        fl_tile *pointwise[1][3]
        fl_tile *rowwise[1]
        fl_tile *rowsums[1]
        fl_tile *sequence[1]
        fl_tile *pairwise[1]
        fl_tile *distances
        fl_tile *both_ways
        fl_tile *labels
        fl_tile *tally
        fl_tile *evaluate
        fl_tile *read
        fl_tile *copy

    ctypedef struct fl_isa:
        const char *name
        const fl_table *table[2]

    ctypedef struct fl_probe:
        const char *from_ "from"
        char *to

    void fl_init()
    int fl_can_thread()
    int fl_max_threads()
    int64_t fl_row_scratch(const fl_rowwise *, int, int64_t)
    int64_t fl_pairwise_scratch(int64_t, int64_t)
    int64_t fl_list_scratch(const fl_rowsums *, int64_t)
    int fl_run(const fl_work *, fl_partial *)
    void fl_join(const fl_evaluation *, int64_t)
    int fl_isa_count()
    const fl_isa *fl_isa_at(int)
    int fl_runs_here(const fl_isa *)

cdef extern from "lattice.h" nogil:
    ctypedef struct fl_lattice:
        int64_t bytes

    fl_lattice fl_lattice_of(const fl_sequences *)
