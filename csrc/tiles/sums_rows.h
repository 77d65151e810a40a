/* Rows of sums one by one, lanes along the elements, block by block. */

/* Takes in whole groups of SUM_LANES elements, those that join; between them memory is asked for what comes later. */
FL_INLINE void R(add_groups)(double *sums, const real *const *in, int64_t n, const uint64_t *joins, R(walk) walk,
                             const R(factors) *factors, const double *param) {
    FL_ALIGNED(64) double own[SUMS * SUM_LANES]; /* which nothing else points to: held in registers */
    const R(factors) k = *factors;
    const real *a = in[0], *b = in[walk.operands > 1 ? 1 : 0], *c = in[walk.operands > 2 ? 2 : 0];
    const real *d = in[walk.operands > 3 ? 3 : 0];
    for (int i = 0; i < walk.sums * SUM_LANES; i++)
        own[i] = sums[i];
    for (int64_t i = 0; i < n; i += SUM_LANES) {
        for (int o = 0; o < walk.operands; o++)
            fl_look_ahead(in[o] + i, SUM_LANES * (int)sizeof(real));
        FL_SIMD
        for (int l = 0; l < SUM_LANES; l++) {
            R(operands) o = {a[i + l], b[i + l], c[i + l], d[i + l], walk.picks ? joins[i + l] : 0};
            R(sums) s = R(sums_at)(own + l, SUM_LANES, walk.sums);
            R(put_sums)(own + l, SUM_LANES, walk.sums, walk.add(s, o, &k, param));
        }
    }
    for (int i = 0; i < walk.sums * SUM_LANES; i++)
        sums[i] = own[i];
}

/* Takes in m <= SUM_LANES elements: loads are masked, and nothing behind the end is touched. */
FL_INLINE void R(add_some)(double *sums, const real *const *in, int64_t first, int64_t m, const uint64_t *joins,
                           R(walk) walk, const R(factors) *factors, const double *param) {
    FL_ALIGNED(64) double own[SUMS * SUM_LANES];
    const R(factors) k = *factors;
    const real *a = in[0] + first, *b = in[walk.operands > 1 ? 1 : 0] + first;
    const real *c = in[walk.operands > 2 ? 2 : 0] + first, *d = in[walk.operands > 3 ? 3 : 0] + first;
    const int32_t end = (int32_t)m;
    for (int i = 0; i < walk.sums * SUM_LANES; i++)
        own[i] = sums[i];
    FL_SIMD
    for (int32_t l = 0; l < SUM_LANES; l++) {
        const int is = l < end;
        R(operands) o = {is ? a[l] : 0, is ? b[l] : 0, is ? c[l] : 0, is ? d[l] : 0, walk.picks ? joins[first + l] : 0};
        R(sums) s = R(sums_at)(own + l, SUM_LANES, walk.sums), t = walk.add(s, o, &k, param);
        t.a = is ? t.a : s.a, t.b = is ? t.b : s.b, t.c = is ? t.c : s.c, t.d = is ? t.d : s.d;
        R(put_sums)(own + l, SUM_LANES, walk.sums, t);
    }
    for (int i = 0; i < walk.sums * SUM_LANES; i++)
        sums[i] = own[i];
}

/* A block of n elements, those that join: flags of whole groups. */
FL_INLINE void R(add_row_block)(double *sums, const real *const *in, int64_t n, const uint64_t *joins, R(walk) walk,
                                const R(factors) *k, const double *param) {
    const int64_t body = n - n % SUM_LANES;
    R(add_groups)(sums, in, body, joins, walk, k, param);
    if (body < n)
        R(add_some)(sums, in, body, n - body, joins, walk, k, param);
}

FL_INLINE void R(join_lanes)(double *sums, R(walk) walk) {
    for (int half = SUM_LANES / 2; half > 0; half /= 2) {
        FL_SIMD
        for (int l = 0; l < half; l++) {
            R(sums) s = R(sums_at)(sums + l, SUM_LANES, walk.sums),
                    t = R(sums_at)(sums + half + l, SUM_LANES, walk.sums);
            R(put_sums)(sums + l, SUM_LANES, walk.sums, walk.join(s, t));
        }
    }
}

/* Where a row's operands begin. */
FL_NOINLINE void R(row_offsets)(const fl_rows *rows, int count, int64_t at, int64_t *offset) {
    for (int o = 0; o < count; o++)
        offset[o] = R(row_offset)(&rows[o], at);
}

/* The operands of a row's block. */
FL_NOINLINE void R(row_blocks)(const fl_rowsums *job, int operands, const int64_t *offset, int64_t j, int64_t n,
                               R(room) *room, const real **in) {
    for (int o = 0; o < operands; o++)
        in[o] = R(is_single)(&job->operand[o]) ? room->operand[o]
                                               : R(row_block)(&job->operand[o], offset[o], j, n, room->operand[o]);
}

/* The sums of a batch's rows, or in a second walk of those that want it. */
FL_INLINE void R(sum_rows)(const fl_rowsums *job, R(batch) *b, R(room) *room, R(walk) walk, int again) {
    for (int l = 0; l < (int)b->rows; l++) {
        FL_ALIGNED(64) double sums[SUMS * SUM_LANES];
        const R(factors) k = R(factors_at)(b, l);
        int64_t offset[FL_ROW_OPERANDS];
        if (again && !b->wanted[l])
            continue;
        FL_SIMD
        for (int i = 0; i < walk.sums * SUM_LANES; i++)
            sums[i] = walk.start;
        R(row_offsets)(job->operand, walk.operands, b->first + l, offset);
        for (int64_t j = 0; j < job->length; j += FL_BLOCK) {
            int64_t n = fl_min(job->length - j, FL_BLOCK), label = b->label[l] - j;
            const int picked = walk.picks && label >= 0 && label < n;
            const real *in[FL_ROW_OPERANDS];
            R(row_blocks)(job, walk.operands, offset, j, n, room, in);
            if (picked)
                room->joins[label] = 0;
            R(add_row_block)(sums, in, n, room->joins, walk, &k, job->param);
            if (picked)
                room->joins[label] = ~(uint64_t)0;
        }
        R(join_lanes)(sums, walk);
        R(put_sums)(b->sum + l, LANES, walk.sums, R(sums_at)(sums, SUM_LANES, walk.sums));
    }
}

/* Gradients of a block's elements. */
FL_INLINE void R(grad_block)(real (*to)[R(room_size)], const real *const *in, int64_t n, const R(factors) *factors,
                             const double *param, R(rowsums_kernel) kernel) {
    const R(factors) k = *factors;
    const real *a = in[0], *b = in[kernel.operands > 1 ? 1 : 0], *c = in[kernel.operands > 2 ? 2 : 0];
    const real *d = in[kernel.operands > 3 ? 3 : 0];
    real *to_a = to[0], *to_b = to[1], *to_c = to[2];
    FL_SIMD
    for (int64_t i = 0; i < n; i++) {
        R(operands) o = {a[i], b[i], c[i], d[i]};
        R(slopes) slopes = kernel.grad(o, &k, param);
        to_a[i] = slopes.a;
        if (kernel.grads > 1)
            to_b[i] = slopes.b;
        if (kernel.grads > 2)
            to_c[i] = slopes.c;
    }
}

FL_NOINLINE void R(put_row_blocks)(const fl_rowsums *job, int grads, const int64_t *offset, int64_t j, int64_t n,
                                   const R(room) *room) {
    for (int g = 0; g < grads; g++)
        R(put_block_at)(&job->grad[g].row, offset[g], j, n, room->grad[g], job->stream);
}

FL_INLINE void R(put_rows)(const fl_rowsums *job, const R(batch) *b, R(room) *room, R(rowsums_kernel) kernel) {
    for (int l = 0; l < (int)b->rows; l++) {
        const R(factors) k = R(factors_at)(b, l);
        int64_t offset[FL_ROW_OPERANDS], to[FL_MAX_GRADS];
        R(row_offsets)(job->operand, kernel.operands, b->first + l, offset);
        R(row_offsets)(job->grad, kernel.grads, b->first + l, to);
        for (int64_t j = 0; j < job->length; j += FL_BLOCK) {
            int64_t n = fl_min(job->length - j, FL_BLOCK), label = b->label[l] - j;
            const real *in[FL_ROW_OPERANDS];
            R(row_blocks)(job, kernel.operands, offset, j, n, room, in);
            R(grad_block)(room->grad, in, n, &k, job->param, kernel);
            if (kernel.picks && label >= 0 && label < n)
                room->grad[0][label] = (real)k.at_label;
            R(put_row_blocks)(job, kernel.grads, to, j, n, room);
        }
    }
}
