/* Panels: up to FL_NARROW classes of a group of rows with class c of row l at [c * step + l], so that a lane is a row.
 * Where the rows lie side by side in memory (a class axis that is not the last) that is how they lie already; else they
 * are transposed on the way in and out. */

typedef struct {
    const real *at;
    int64_t step;
} R(panel);

enum { R(panel_size) = LANES * FL_NARROW };

#if FL_SHUFFLE
#if REAL_BITS == 32
typedef float R(four) __attribute__((vector_size(16)));
#else
typedef double R(four) __attribute__((vector_size(32)));
#endif

/* to[j * to_step + i] = from[i * from_step + j] for i, j < 4 */
FL_INLINE void R(transpose_four)(const real *from, int64_t from_step, real *to, int64_t to_step) {
    R(four) a, b, c, d;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + from_step, sizeof b);
    memcpy(&c, from + 2 * from_step, sizeof c);
    memcpy(&d, from + 3 * from_step, sizeof d);
    R(four) ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    R(four) cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    R(four) first = __builtin_shufflevector(ab, cd, 0, 1, 4, 5), second = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    R(four) third = __builtin_shufflevector(AB, CD, 0, 1, 4, 5), fourth = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
    memcpy(to, &first, sizeof first);
    memcpy(to + to_step, &second, sizeof second);
    memcpy(to + 2 * to_step, &third, sizeof third);
    memcpy(to + 3 * to_step, &fourth, sizeof fourth);
}
#endif

/* to[j * to_step + i] = from[i * from_step + j] for i < rows, j < columns. A ragged edge is covered by fours that
 * overlap; what is narrower than four goes one by one. */
FL_INLINE void R(transpose)(const real *from, int64_t from_step, int64_t rows, int64_t columns, real *to,
                            int64_t to_step) {
#if FL_SHUFFLE
    if (rows >= 4 && columns >= 4) {
        for (int64_t j = 0; j < columns; j = j + 4 < columns && j + 8 > columns ? columns - 4 : j + 4)
            for (int64_t i = 0; i < rows; i = i + 4 < rows && i + 8 > rows ? rows - 4 : i + 4)
                R(transpose_four)(from + i * from_step + j, from_step, to + j * to_step + i, to_step);
        return;
    }
#endif
    for (int64_t j = 0; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            to[j * to_step + i] = from[i * from_step + j];
}

/* Whether a group's rows lie side by side, so that a class of them is one piece of memory. */
FL_INLINE int R(is_side_by_side)(const fl_matrix *m, fl_run_at here, int64_t rows) {
    return here.run >= rows && here.stride == fl_itemsize(m->rows.dtype) && m->class_stride != here.stride;
}

/* n <= FL_NARROW classes from class j on of the group's rows. `flat` and `buffer` hold panel_size each. */
FL_NOINLINE R(panel) R(load_panel)(const fl_matrix *m, int64_t first, int64_t rows, int64_t j, int64_t n, real softcap,
                                   real *flat, real *buffer) {
    fl_run_at here = fl_locate(&m->rows, first);
    int64_t item = fl_itemsize(m->rows.dtype), stride = m->class_stride;
    int dtype = m->rows.dtype, swapped = m->rows.swapped;
    if (R(is_side_by_side)(m, here, rows)) {
        const char *at = here.at + j * stride;
        if (rows == LANES && softcap == 0 && stride % item == 0 && R(is_direct)(dtype, at, item, swapped))
            return (R(panel)){(const real *)(const void *)at, stride / item};
        for (int64_t c = 0; c < n; c++)
            R(load)(dtype, at + c * stride, item, swapped, rows, buffer + c * LANES);
    } else {
        const real *from = flat;
        int64_t from_step = n;
        if (here.run >= rows && stride == item && here.stride % item == 0 && here.stride > 0 &&
            R(is_direct)(dtype, here.at, item, swapped)) {
            from = (const real *)(const void *)(here.at + j * stride);
            from_step = here.stride / item;
            for (int64_t ahead = 0; here.stride <= 2 * n * item && ahead < rows * here.stride; ahead += 64)
                FL_PREFETCH((const char *)from + FL_AHEAD + ahead);
        } else if (here.run >= rows && stride == item && here.stride == n * item) {
            R(load)(dtype, here.at + j * stride, item, swapped, rows * n, flat);
        } else {
            for (int64_t l = 0; l < rows; l++)
                R(load)(dtype, fl_locate(&m->rows, first + l).at + j * stride, stride, swapped, n, flat + l * n);
        }
        R(transpose)(from, from_step, rows, n, buffer, LANES);
    }
    if (rows < LANES)
        for (int64_t c = 0; c < n; c++)
            for (int64_t l = rows; l < LANES; l++)
                buffer[c * LANES + l] = 0;
    if (softcap != 0)
        R(cap)(buffer, n * LANES, softcap);
    return (R(panel)){buffer, LANES};
}

/* The other way: a panel with step LANES to the group's rows. */
FL_NOINLINE void R(store_panel)(const fl_matrix *m, int64_t first, int64_t rows, int64_t j, int64_t n,
                                const real *panel, real *flat, int stream) {
    fl_run_at here = fl_locate(&m->rows, first);
    int64_t item = fl_itemsize(m->rows.dtype), stride = m->class_stride;
    int dtype = m->rows.dtype, swapped = m->rows.swapped;
    if (R(is_side_by_side)(m, here, rows)) {
        for (int64_t c = 0; c < n; c++)
            /* Not past the cache: as many streams as classes would break each other's lines up. */
            R(store)(dtype, here.at + (j + c) * stride, item, swapped, rows, panel + c * LANES, 0);
        return;
    }
    R(transpose)(panel, LANES, n, rows, flat, n);
    if (here.run >= rows && stride == item && here.stride == n * item) {
        R(store)(dtype, here.at + j * stride, item, swapped, rows * n, flat, stream);
        return;
    }
    for (int64_t l = 0; l < rows; l++)
        R(store)(dtype, fl_locate(&m->rows, first + l).at + j * stride, stride, swapped, n, flat + l * n, stream);
}
