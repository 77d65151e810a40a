/* Rows of sums together, a row in each lane: rows too short to fill the lanes, and rows that lie side by side. */

/* A panel of rows: as R(load_lanes), and where rows repeat or have several dimensions. */
FL_NOINLINE R(panel)
    R(rows_panel)(const fl_rows *m, int64_t first, int64_t rows, int64_t j, int64_t n, real *flat, real *buffer) {
    if (R(is_single)(m))
        return (R(panel)){buffer, LANES};
    if (m->matrix.rows.ndim == 0) {
        const real *from = R(row_block)(m, 0, j, n, flat);
        for (int64_t c = 0; c < n; c++) {
            FL_SIMD
            for (int l = 0; l < LANES; l++)
                buffer[c * LANES + l] = from[c];
        }
        return (R(panel)){buffer, LANES};
    }
    if (m->row.ndim <= 1)
        return R(load_lanes)(&m->matrix, first, rows, LANES, j, n, 0, flat, buffer);
    for (int64_t l = 0; l < rows; l++) {
        const real *from = R(row_block)(m, R(row_offset)(m, first + l), j, n, flat);
        for (int64_t c = 0; c < n; c++)
            buffer[c * LANES + l] = from[c];
    }
    for (int64_t c = 0; c < n && rows < LANES; c++)
        for (int64_t l = rows; l < LANES; l++)
            buffer[c * LANES + l] = 0;
    return (R(panel)){buffer, LANES};
}

FL_NOINLINE void R(rows_panels)(const fl_rowsums *job, int operands, const R(batch) *b, int64_t j, int64_t n,
                                R(room) *room, R(panel) *in) {
    for (int o = 0; o < operands; o++)
        in[o] = R(rows_panel)(&job->operand[o], b->first, b->rows, j, n, room->flat, room->operand[o]);
}

FL_INLINE R(operands) R(operands_at)(const R(panel) *in, int operands, int64_t c, int l) {
    R(operands) o = {0};
    o.a = in[0].at[c * in[0].step + l];
    o.b = operands > 1 ? in[1].at[c * in[1].step + l] : o.a;
    o.c = operands > 2 ? in[2].at[c * in[2].step + l] : o.a;
    o.d = operands > 3 ? in[3].at[c * in[3].step + l] : o.a;
    return o;
}

/* The sums of a batch's rows. Short rows have their panels in `in`. */
FL_INLINE void R(sum_columns)(const fl_rowsums *job, R(batch) *b, R(room) *room, R(walk) walk, R(panel) *in) {
    FL_ALIGNED(64) double sums[SUM_LANES * SUMS * LANES];
    const int wide = !R(is_short)(job, walk.operands), parts = wide ? SUM_LANES : NARROW_PARTS;
    int32_t label[LANES];
    for (int part = 0; part < parts; part++)
        for (int i = 0; i < walk.sums * LANES; i++)
            sums[part * SUMS * LANES + i] = walk.start;
    for (int l = 0; l < LANES; l++)
        label[l] = (int32_t)b->label[l];
    for (int64_t j = 0; j < job->length; j += FL_NARROW) {
        int64_t n = fl_min(job->length - j, FL_NARROW);
        if (wide)
            R(rows_panels)(job, walk.operands, b, j, n, room, in);
        for (int64_t c = 0; c < n; c++) {
            double *at = sums + (c & (parts - 1)) * SUMS * LANES;
            const int32_t here = (int32_t)(j + c);
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                R(operands) o = R(operands_at)(in, walk.operands, c, l);
                R(factors) k = R(factors_at)(b, l);
                R(sums) s = R(sums_at)(at + l, LANES, walk.sums);
                o.joins = (uint64_t)0 - (uint64_t)(label[l] != here);
                R(put_sums)(at + l, LANES, walk.sums, walk.add(s, o, &k, job->param));
            }
        }
    }
    for (int half = parts / 2; half > 0; half /= 2)
        for (int part = 0; part < half; part++) {
            double *at = sums + part * SUMS * LANES;
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                R(sums) s = R(sums_at)(at + l, LANES, walk.sums);
                R(sums) t = R(sums_at)(at + half * SUMS * LANES + l, LANES, walk.sums);
                R(put_sums)(at + l, LANES, walk.sums, walk.join(s, t));
            }
        }
    memcpy(b->sum, sums, (size_t)walk.sums * LANES * sizeof(double));
}

FL_NOINLINE void R(put_panels)(const fl_rowsums *job, int grads, const R(batch) *b, int64_t j, int64_t n,
                               R(room) *room) {
    for (int g = 0; g < grads; g++) {
        const fl_rows *to = &job->grad[g];
        if (to->row.ndim <= 1) {
            R(store_lanes)(&to->matrix, b->first, b->rows, LANES, j, n, room->grad[g], room->flat, job->stream);
            continue;
        }
        for (int64_t l = 0; l < b->rows; l++) {
            for (int64_t c = 0; c < n; c++)
                room->flat[c] = room->grad[g][c * LANES + l];
            R(put_block_at)(&to->row, R(row_offset)(to, b->first + l), j, n, room->flat, 0);
        }
    }
}

FL_INLINE void R(put_columns)(const fl_rowsums *job, const R(batch) *b, R(room) *room, R(rowsums_kernel) kernel,
                              R(panel) *in) {
    const int wide = !R(is_short)(job, kernel.operands);
    for (int64_t j = 0; j < job->length; j += FL_NARROW) {
        int64_t n = fl_min(job->length - j, FL_NARROW);
        if (wide)
            R(rows_panels)(job, kernel.operands, b, j, n, room, in);
        for (int64_t c = 0; c < n; c++) {
            real *to_a = room->grad[0] + c * LANES, *to_b = room->grad[1] + c * LANES;
            real *to_c = room->grad[2] + c * LANES;
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                R(factors) k = R(factors_at)(b, l);
                R(slopes) slopes = kernel.grad(R(operands_at)(in, kernel.operands, c, l), &k, job->param);
                to_a[l] = slopes.a;
                if (kernel.grads > 1)
                    to_b[l] = slopes.b;
                if (kernel.grads > 2)
                    to_c[l] = slopes.c;
            }
        }
        for (int l = 0; kernel.picks && l < (int)b->rows; l++)
            if (b->label[l] >= j && b->label[l] < j + n)
                room->grad[0][(b->label[l] - j) * LANES + l] = (real)b->factor[(FL_ROW_FACTORS - 1) * LANES + l];
        R(put_panels)(job, kernel.grads, b, j, n, room);
    }
}
