/* A tile of rows whose losses come from sums: in batches of rows that stay in the cache from the first walk along them to
 * the gradients. sums_rows.h walks a batch's rows one by one, with lanes along the elements; sums_columns.h all of them
 * together, with a row in each lane. Either way element i goes to partial sum i % SUM_LANES of its row, and those are joined
 * in the same order. */

#ifndef SUM_LANES
#define SUM_LANES 16
#define NARROW_PARTS 4        /* partial sums of a short row, which is always walked with others */
#define SUMS 4                /* at most */
#define FACTORS 7             /* members of R(factors) */
#define BATCH_BYTES (1 << 17) /* of a batch's operands */
#endif

typedef R(factors) R(rowsums_begin)(const R(known) *r, const double *param);
typedef R(sums) R(rowsums_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param);
typedef R(sums) R(rowsums_join)(R(sums) s, R(sums) t);
typedef int R(rowsums_turn)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k);
typedef double R(rowsums_finish)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k);
typedef R(slopes) R(rowsums_grad)(R(operands) o, const R(factors) *k, const double *param);

/* A kernel, as the always-inline walkers take it: constants all. */
typedef struct {
    int operands, grads, sums, again;
    double start;
    int picks;
    R(rowsums_begin) *begin;
    R(rowsums_add) *add;
    R(rowsums_join) *join;
    R(rowsums_turn) *turn;
    R(rowsums_add) *add_again;
    R(rowsums_finish) *finish;
    R(rowsums_grad) *grad;
} R(rowsums_kernel);

/* One walk along the rows: the first or the second. */
typedef struct {
    int operands, sums, picks;
    double start;
    R(rowsums_add) *add;
    R(rowsums_join) *join;
} R(walk);

FL_INLINE R(walk) R(first_walk)(R(rowsums_kernel) kernel) {
    return (R(walk)){kernel.operands, kernel.sums, kernel.picks, kernel.start, kernel.add, kernel.join};
}
FL_INLINE R(walk) R(second_walk)(R(rowsums_kernel) kernel) {
    return (R(walk)){kernel.operands, kernel.again, kernel.picks, 0, kernel.add_again, R(add_up)};
}

/* A batch: what is known of each row, its sums, and what it hands to its elements. The arrays come first, aligned as the
 * whole: a loop over lanes that are not is taken apart. */
typedef struct {
    int64_t label[LANES]; /* -1: none, or out of range */
    double picked[LANES], weight[LANES], number[LANES], scale[LANES];
    double sum[SUMS * LANES], factor[FL_ROW_FACTORS * LANES];
    int wanted[LANES]; /* walked again */
    int64_t first, rows;
} R(batch);

/* Rows whose panels stay in the L1 cache, all operands' together. */
FL_INLINE int R(is_short)(const fl_rowsums *job, int operands) {
    return job->length <= FL_NARROW && job->length * operands < 2 * FL_NARROW;
}

/* Room for converted operands and for gradients: of a block of a row, or of a panel. And which elements of a block join
 * sums. */
enum { R(room_size) = LANES * FL_NARROW > FL_BLOCK ? LANES *FL_NARROW : FL_BLOCK };
typedef struct {
    real operand[FL_ROW_OPERANDS][R(room_size)], grad[FL_MAX_GRADS][R(room_size)], flat[R(room_size)];
    uint64_t joins[FL_BLOCK];
} R(room);

/* Sums as they lie in arrays, member by member `step` apart. */
FL_INLINE R(sums) R(sums_at)(const double *at, int64_t step, int count) {
    R(sums) s = {0, 0, 0, 0};
    s.a = at[0];
    if (count > 1)
        s.b = at[step];
    if (count > 2)
        s.c = at[2 * step];
    if (count > 3)
        s.d = at[3 * step];
    return s;
}

FL_INLINE void R(put_sums)(double *at, int64_t step, int count, R(sums) s) {
    at[0] = s.a;
    if (count > 1)
        at[step] = s.b;
    if (count > 2)
        at[2 * step] = s.c;
    if (count > 3)
        at[3 * step] = s.d;
}

FL_INLINE R(factors) R(factors_at)(const R(batch) *b, int l) {
    const double *at = b->factor + l;
    return (R(factors)){at[0], at[LANES], at[2 * LANES], at[3 * LANES], at[4 * LANES], at[5 * LANES], at[6 * LANES]};
}

FL_INLINE void R(put_factors)(R(batch) *b, int l, const R(factors) *k) {
    double *at = b->factor + l;
    at[0] = k->a, at[LANES] = k->b, at[2 * LANES] = k->c, at[3 * LANES] = k->d, at[4 * LANES] = k->e;
    at[5 * LANES] = k->f, at[6 * LANES] = k->at_label;
}

FL_INLINE R(known) R(known_of)(const fl_rowsums *job, const R(batch) *b, int l) {
    return (R(known)){(double)job->length, b->picked[l], b->weight[l], b->number[l], b->scale[l]};
}

/* Whether an operand is one number for all rows: then its room is filled once. */
FL_INLINE int R(is_single)(const fl_rows *m) { return m->matrix.rows.ndim == 0 && m->row.ndim == 0; }

/* n elements of row number `at` from element j on. */
FL_INLINE const real *R(row_block)(const fl_rows *m, int64_t offset, int64_t j, int64_t n, real *buffer) {
    if (m->row.ndim == 0) {
        real number;
        R(load)(m->row.dtype, m->row.data + offset, 0, m->row.swapped, 1, &number);
        FL_SIMD
        for (int64_t i = 0; i < n; i++)
            buffer[i] = number;
        return buffer;
    }
    return R(block_at)(&m->row, offset, j, n, buffer);
}

FL_NOINLINE void R(fill_room)(const fl_rowsums *job, int operands, R(room) *room) {
    for (int o = 0; o < operands; o++)
        if (R(is_single)(&job->operand[o]))
            R(row_block)(&job->operand[o], 0, 0, R(room_size), room->operand[o]);
}

/* Where a row begins, in bytes from the array's first element. */
FL_INLINE int64_t R(row_offset)(const fl_rows *m, int64_t at) {
    return fl_locate(&m->matrix.rows, at).at - m->matrix.rows.data;
}

FL_INLINE void R(load_numbers)(const fl_array *from, int64_t first, int64_t rows, double *to) {
    real buffer[LANES];
    const real *found = R(block)(from, first, rows, buffer);
    for (int l = 0; l < (int)rows; l++)
        to[l] = (double)found[l];
}

FL_NOINLINE void R(load_batch)(const fl_rowsums *job, int64_t first, int64_t rows, R(batch) *b, R(totals) *t) {
    const real *class_weight = (const real *)job->weight;
    b->first = first, b->rows = rows;
    for (int l = 0; l < LANES; l++) {
        b->label[l] = -1, b->wanted[l] = 0;
        b->picked[l] = b->number[l] = 0;
        b->weight[l] = b->scale[l] = 1;
    }
    if (job->number.data)
        R(load_numbers)(&job->number, first, rows, b->number);
    if (job->upstream.data)
        R(load_numbers)(&job->upstream, first, rows, b->scale);
    for (int l = 0; l < LANES; l++)
        b->scale[l] *= job->scale;
    t->rows += rows;
    if (!job->label.data)
        return;
    fl_load_labels(&job->label, first, rows, b->label);
    for (int l = 0; l < (int)rows; l++) {
        real picked;
        if ((uint64_t)b->label[l] >= (uint64_t)job->length) {
            b->label[l] = -1;
            if (t->bad < 0)
                t->bad = first + l;
            continue;
        }
        b->picked[l] = (double)*R(row_block)(&job->operand[0], R(row_offset)(&job->operand[0], first + l), b->label[l],
                                             1, &picked);
        if (class_weight)
            b->weight[l] = (double)class_weight[b->label[l]];
    }
}

FL_INLINE void R(begin_batch)(const fl_rowsums *job, R(batch) *b, R(rowsums_kernel) kernel) {
    if (kernel.begin == R(no_begin) &&!kernel.again)
        return;
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(known) known = R(known_of)(job, b, l);
        R(factors) k = kernel.begin(&known, job->param);
        R(put_factors)(b, l, &k);
    }
}

/* Whether any row has to be walked again. */
FL_INLINE int R(turn_batch)(const fl_rowsums *job, R(batch) *b, R(rowsums_kernel) kernel) {
    int any = 0;
    FL_SIMD_REDUCE(|, any)
    for (int l = 0; l < LANES; l++) {
        R(sums) sums = R(sums_at)(b->sum + l, LANES, kernel.sums);
        R(known) known = R(known_of)(job, b, l);
        R(factors) k = R(factors_at)(b, l);
        b->wanted[l] = kernel.turn(&sums, &known, job->param, &k) & (l < b->rows);
        any |= b->wanted[l];
        R(put_factors)(b, l, &k);
    }
    for (int i = 0; i < SUMS * LANES; i++)
        b->sum[i] = 0;
    return any;
}

FL_INLINE void R(finish_batch)(const fl_rowsums *job, R(batch) *b, R(rowsums_kernel) kernel, real *value) {
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        R(sums) sums = R(sums_at)(b->sum + l, LANES, kernel.again ? kernel.again : kernel.sums);
        R(known) known = R(known_of)(job, b, l);
        R(factors) k = R(factors_at)(b, l);
        value[l] = (real)kernel.finish(&sums, &known, job->param, &k);
        R(put_factors)(b, l, &k);
    }
}

/* The tile's sum takes row i in lane i % sum_lanes, however the rows are batched. */
FL_INLINE void R(add_values)(double *sums, const real *value, int64_t rows, int64_t done) {
    for (int64_t i = 0; i < rows; i++)
        sums[(done + i) & (R(sum_lanes) - 1)] += (double)value[i];
}
