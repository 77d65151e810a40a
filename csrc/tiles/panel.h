/* Panels: up to FL_NARROW classes of a group of rows with class c of row l at [c * step + l], so that a lane is a row.
 * Where the rows lie side by side in memory (a class axis that is not the last) that is how they lie already; else they
 * are transposed on the way in and out. */

typedef struct {
    const real *at;
    int64_t step;
} R(panel);

enum { R(panel_size) = LANES * FL_NARROW };

/* How many rows of so many classes are taken together: no more than leave room in the L1 cache for what becomes of them. */
FL_INLINE int64_t R(lanes_for)(int64_t classes) {
    int64_t lanes = R(panel_size) / 2 / classes;
    return lanes >= R(most_lanes) ? R(most_lanes) : lanes > LANES ? lanes - lanes % LANES : LANES;
}

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
 * overlap; what is narrower than four goes by pairs or threes that follow one another, or one by one. */
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
    if (columns == 2 && from_step == 2) { /* constants, for the compiler to shuffle; so in what follows */
        FL_SIMD
        for (int64_t i = 0; i < rows; i++)
            to[i] = from[2 * i], to[to_step + i] = from[2 * i + 1];
    } else if (columns == 3 && from_step == 3) {
        FL_SIMD
        for (int64_t i = 0; i < rows; i++)
            to[i] = from[3 * i], to[to_step + i] = from[3 * i + 1], to[2 * to_step + i] = from[3 * i + 2];
    } else if (rows == 2 && to_step == 2) {
        FL_SIMD
        for (int64_t j = 0; j < columns; j++)
            to[2 * j] = from[j], to[2 * j + 1] = from[from_step + j];
    } else if (rows == 3 && to_step == 3) {
        FL_SIMD
        for (int64_t j = 0; j < columns; j++)
            to[3 * j] = from[j], to[3 * j + 1] = from[from_step + j], to[3 * j + 2] = from[2 * from_step + j];
    } else {
        for (int64_t j = 0; j < columns; j++)
            for (int64_t i = 0; i < rows; i++)
                to[j * to_step + i] = from[i * from_step + j];
    }
}

#if FL_SHUFFLE && REAL_BITS == 32
/* The same for whole groups of float, a vector of rows at a time: row 4 k + i of them in the k-th four of vector i. */
typedef struct {
    fl_wide a, b, c, d;
} r32_wides;

/* Within each four, as R(transpose_four). */
FL_INLINE r32_wides r32_transpose_fours(r32_wides v) {
    enum { w = r32_width };
    fl_wide ab = FL_FOURS(v.a, v.b, 0, w, 1, w + 1), AB = FL_FOURS(v.a, v.b, 2, w + 2, 3, w + 3);
    fl_wide cd = FL_FOURS(v.c, v.d, 0, w, 1, w + 1), CD = FL_FOURS(v.c, v.d, 2, w + 2, 3, w + 3);
    return (r32_wides){FL_FOURS(ab, cd, 0, 1, w, w + 1), FL_FOURS(ab, cd, 2, 3, w + 2, w + 3),
                       FL_FOURS(AB, CD, 0, 1, w, w + 1), FL_FOURS(AB, CD, 2, 3, w + 2, w + 3)};
}

/* Whole LANES of rows, of n >= 4 classes, to a panel; the last four classes may overlap with those before. */
FL_INLINE void r32_transpose_rows(const float *from, int64_t step, int64_t rows, int64_t n, float *panel) {
    for (int64_t j = 0; j < n; j = j + 4 < n && j + 8 > n ? n - 4 : j + 4)
        for (int64_t i = 0; i < rows; i += r32_width) {
            const float *at = from + i * step + j;
            r32_wides v = r32_transpose_fours(
                (r32_wides){fl_join_fours(at, 4 * step), fl_join_fours(at + step, 4 * step),
                            fl_join_fours(at + 2 * step, 4 * step), fl_join_fours(at + 3 * step, 4 * step)});
            memcpy(panel + j * rows + i, &v.a, sizeof v.a);
            memcpy(panel + (j + 1) * rows + i, &v.b, sizeof v.b);
            memcpy(panel + (j + 2) * rows + i, &v.c, sizeof v.c);
            memcpy(panel + (j + 3) * rows + i, &v.d, sizeof v.d);
        }
}

/* Four classes of a panel, a vector of rows of each, to a vector of fours. */
FL_INLINE r32_wides r32_fours_of(const float *at, int64_t rows) {
    r32_wides v;
    memcpy(&v.a, at, sizeof v.a);
    memcpy(&v.b, at + rows, sizeof v.b);
    memcpy(&v.c, at + 2 * rows, sizeof v.c);
    memcpy(&v.d, at + 3 * rows, sizeof v.d);
    return r32_transpose_fours(v);
}

/* And back, to rows that follow one another; eight classes at a time where there are more than four, for
 * fewer stores. */
FL_INLINE void r32_transpose_classes(const float *panel, int64_t rows, int64_t n, float *to) {
    for (int64_t i = 0; i < rows; i += r32_width) {
        const float *at = panel + i;
        float *row = to + i * n;
        int64_t j = 0;
        for (; n >= 8 && j + 4 < n; j += 8) {
            const int64_t c = fl_min(j, n - 8);
            r32_wides v = r32_fours_of(at + c * rows, rows), w = r32_fours_of(at + (c + 4) * rows, rows);
            fl_part_eights(v.a, w.a, row + c, 4 * n);
            fl_part_eights(v.b, w.b, row + n + c, 4 * n);
            fl_part_eights(v.c, w.c, row + 2 * n + c, 4 * n);
            fl_part_eights(v.d, w.d, row + 3 * n + c, 4 * n);
        }
        for (; j < n; j += 4) {
            const int64_t c = fl_min(j, n - 4);
            r32_wides v = r32_fours_of(at + c * rows, rows);
            fl_part_fours(v.a, row + c, 4 * n);
            fl_part_fours(v.b, row + n + c, 4 * n);
            fl_part_fours(v.c, row + 2 * n + c, 4 * n);
            fl_part_fours(v.d, row + 3 * n + c, 4 * n);
        }
    }
}
#endif

#if FL_BLENDS && REAL_BITS == 32
/* Of how many classes blends take fewer instructions than the shuffles above; and the floats of a unit. */
#define BLENDED(_) _(5, 1) _(6, 2) _(10, 2)

/* Whole LANES of rows that follow one another to a panel, and back; whether blends do it. */
FL_INLINE int r32_blend_rows(const float *from, int64_t rows, int64_t n, float *panel) {
    switch (n) {
#define BLEND(n, u)                                                                                                    \
    case n:                                                                                                            \
        for (int64_t i = 0; i < rows; i += r32_width)                                                                  \
            fl_blend_rows(from + i * n, n, u, panel + i, rows);                                                        \
        return 1;
        BLENDED(BLEND)
#undef BLEND
    }
    return 0;
}

FL_INLINE int r32_blend_classes(const float *panel, int64_t rows, int64_t n, float *to) {
    switch (n) {
#define BLEND(n, u)                                                                                                    \
    case n:                                                                                                            \
        for (int64_t i = 0; i < rows; i += r32_width)                                                                  \
            fl_blend_classes(panel + i, rows, n, u, to + i * n);                                                       \
        return 1;
        BLENDED(BLEND)
#undef BLEND
    }
    return 0;
}
#undef BLENDED
#endif

/* A group's rows of n classes to a panel with step `lanes`, and back. */
FL_INLINE void R(rows_to_panel)(const real *from, int64_t step, int64_t rows, int64_t n, int lanes, real *panel) {
#if FL_SHUFFLE && REAL_BITS == 32
#if FL_BLENDS
    if (rows == lanes && step == n && r32_blend_rows(from, rows, n, panel))
        return;
#endif
    if (rows == lanes && n >= 4) {
        r32_transpose_rows(from, step, rows, n, panel);
        return;
    }
#endif
    R(transpose)(from, step, rows, n, panel, lanes);
}

FL_INLINE void R(panel_to_rows)(const real *panel, int lanes, int64_t rows, int64_t n, real *to) {
#if FL_SHUFFLE && REAL_BITS == 32
#if FL_BLENDS
    if (rows == lanes && r32_blend_classes(panel, rows, n, to))
        return;
#endif
    if (rows == lanes && n >= 4) {
        r32_transpose_classes(panel, rows, n, to);
        return;
    }
#endif
    R(transpose)(panel, lanes, n, rows, to, n);
}

/* Whether a group's rows lie side by side, so that a class of them is one piece of memory. */
FL_INLINE int R(is_side_by_side)(const fl_matrix *m, fl_run_at here, int64_t rows) {
    return here.run >= rows && here.stride == fl_itemsize(m->rows.dtype) && m->class_stride != here.stride;
}

/* What is asked for from memory while a group's rows are at work, as many bytes as they have: rows that come later, where
 * they follow one another closely. */
FL_INLINE const char *R(rows_ahead)(const fl_matrix *m, int64_t first, int64_t rows, int64_t n, int64_t *bytes) {
    fl_run_at here = fl_locate(&m->rows, first);
    const int64_t item = fl_itemsize(m->rows.dtype);
    const int close = here.run >= rows && m->class_stride == item && here.stride > 0 && here.stride <= 2 * n * item;
    *bytes = close ? rows * here.stride : 0;
    return here.at + *bytes;
}

/* n <= FL_NARROW classes from class j on of the rows from `first` on. `flat` and `buffer` hold panel_size each. */
FL_NOINLINE R(panel) R(load_lanes)(const fl_matrix *m, int64_t first, int64_t rows, int lanes, int64_t j, int64_t n,
                                   real softcap, real *flat, real *buffer) {
    fl_run_at here = fl_locate(&m->rows, first);
    int64_t item = fl_itemsize(m->rows.dtype), stride = m->class_stride;
    int dtype = m->rows.dtype, swapped = m->rows.swapped;
    if (R(is_side_by_side)(m, here, rows)) {
        const char *at = here.at + j * stride;
        if (rows == lanes && softcap == 0 && stride % item == 0 && R(is_direct)(dtype, at, item, swapped))
            return (R(panel)){(const real *)(const void *)at, stride / item};
        for (int64_t c = 0; c < n; c++)
            R(load)(dtype, at + c * stride, item, swapped, rows, buffer + c * lanes);
    } else {
        const real *from = flat;
        int64_t from_step = n;
        if (here.run >= rows && stride == item && here.stride % item == 0 && here.stride > 0 &&
            R(is_direct)(dtype, here.at, item, swapped)) {
            from = (const real *)(const void *)(here.at + j * stride);
            from_step = here.stride / item;
        } else if (here.run >= rows && stride == item && here.stride == n * item) {
            R(load)(dtype, here.at + j * stride, item, swapped, rows * n, flat);
        } else {
            for (int64_t l = 0; l < rows; l++)
                R(load)(dtype, fl_locate(&m->rows, first + l).at + j * stride, stride, swapped, n, flat + l * n);
        }
        R(rows_to_panel)(from, from_step, rows, n, lanes, buffer);
    }
    if (rows < lanes)
        for (int64_t c = 0; c < n; c++)
            for (int64_t l = rows; l < lanes; l++)
                buffer[c * lanes + l] = 0;
    if (softcap != 0)
        R(cap)(buffer, n * lanes, softcap);
    return (R(panel)){buffer, lanes};
}

/* The other way: a panel with step `lanes` to the rows. */
FL_NOINLINE void R(store_lanes)(const fl_matrix *m, int64_t first, int64_t rows, int lanes, int64_t j, int64_t n,
                                const real *panel, real *flat, int stream) {
    fl_run_at here = fl_locate(&m->rows, first);
    int64_t item = fl_itemsize(m->rows.dtype), stride = m->class_stride;
    int dtype = m->rows.dtype, swapped = m->rows.swapped;
    if (R(is_side_by_side)(m, here, rows)) {
        for (int64_t c = 0; c < n; c++)
            /* Not past the cache: as many streams as classes would break each other's lines up. */
            R(store)(dtype, here.at + (j + c) * stride, item, swapped, rows, panel + c * lanes, 0);
        return;
    }
    if (!stream && here.run >= rows && here.stride == n * item && R(is_direct)(dtype, here.at, stride, swapped)) {
        R(panel_to_rows)(panel, lanes, rows, n, (real *)(void *)(here.at + j * stride));
        return;
    }
    R(panel_to_rows)(panel, lanes, rows, n, flat);
    if (here.run >= rows && stride == item && here.stride == n * item) {
        R(store)(dtype, here.at + j * stride, item, swapped, rows * n, flat, stream);
        return;
    }
    for (int64_t l = 0; l < rows; l++)
        R(store)(dtype, fl_locate(&m->rows, first + l).at + j * stride, stride, swapped, n, flat + l * n, stream);
}

/* Rows on their way past the cache: they leave while the next group is at work. */
typedef struct {
    FL_ALIGNED(64) real rows[R(panel_size)];
    char *to;
    size_t bytes, gone;
} R(outgoing);

/* So many bytes more, as whole lines. */
FL_INLINE void R(send)(R(outgoing) *out, size_t bytes) {
    const size_t made = out->gone + bytes;
    out->gone = fl_stream_lines(out->to, (const char *)out->rows, out->gone, made < out->bytes ? made : out->bytes);
}

FL_INLINE void R(send_rest)(R(outgoing) *out) {
    fl_stream(out->to + out->gone, (const char *)out->rows + out->gone, out->bytes - out->gone);
    out->bytes = out->gone = 0;
}

/* A panel of all of its rows' n classes sets out, if the layout allows; whether it does. */
FL_NOINLINE int R(send_off)(R(outgoing) *out, const fl_matrix *m, const R(group) *g, int64_t n, const real *panel) {
    const fl_run_at here = fl_locate(&m->rows, g->first);
    if (here.run < g->rows || here.stride != n * (int64_t)sizeof(real) ||
        !R(is_direct)(m->rows.dtype, here.at, m->class_stride, m->rows.swapped))
        return 0;
    if (out->gone < out->bytes)
        R(send_rest)(out);
    R(panel_to_rows)(panel, g->lanes, g->rows, n, out->rows);
    out->to = here.at, out->bytes = (size_t)(g->rows * n) * sizeof(real), out->gone = 0;
    return 1;
}

/* Both for a group. */
FL_INLINE R(panel)
    R(load_panel)(const fl_matrix *m, const R(group) *g, int64_t j, int64_t n, real softcap, real *flat, real *buffer) {
    return R(load_lanes)(m, g->first, g->rows, g->lanes, j, n, softcap, flat, buffer);
}
FL_INLINE void R(store_panel)(const fl_matrix *m, const R(group) *g, int64_t j, int64_t n, const real *panel,
                              real *flat, int stream) {
    R(store_lanes)(m, g->first, g->rows, g->lanes, j, n, panel, flat, stream);
}
