/* Rows with several labels each: the row's sums are taken once for every label, those elements left out of all of them; its
 * loss is the sum of theirs, an element's gradient likewise. */

/* A row's labels: how many come before the end, or -1 where one is out of range. */
FL_NOINLINE int64_t R(load_list)(const fl_rowsums *job, int64_t row, int64_t *label) {
    int64_t count = 0;
    int bad = 0;
    fl_load_labels_at(&job->labels.row, R(row_offset)(&job->labels, row), 0, job->length, label);
    while (count < job->length && label[count] >= 0)
        count++;
    for (int64_t i = 0; i < job->length; i++)
        bad |= (label[i] < -1) | (label[i] >= job->length);
    return bad ? -1 : count;
}

FL_INLINE void R(list_tile)(const fl_rowsums *job, int64_t first, int64_t count, fl_partial *partial,
                            R(rowsums_kernel) kernel, R(room) *room, char *scratch) {
    const int64_t whole = (job->length + SUM_LANES - 1) / SUM_LANES * SUM_LANES;
    real *row = (real *)(void *)scratch;
    uint64_t *joins = (uint64_t *)(void *)(row + whole); /* not the labels, nor what is behind the end */
    R(factors) *k = (R(factors) *)(void *)(joins + whole);
    int64_t *label = (int64_t *)(void *)(k + job->length);
    const R(walk) walk = R(first_walk)(kernel);
    R(totals) totals = {{0}, {0}, 0, -1};
    for (int64_t l = 0; l < count; l++) {
        const int64_t labels = R(load_list)(job, first + l, label);
        const real *in[FL_ROW_OPERANDS] = {row};
        R(known) known = {(double)job->length, 0, 1, 0, job->scale};
        double value = 0;
        int64_t offset, to;
        real rounded;
        if (labels < 0) {
            totals.bad = totals.bad < 0 ? first + l : totals.bad;
            continue;
        }
        R(row_offsets)(job->operand, 1, first + l, &offset);
        for (int64_t j = 0; j < job->length; j += FL_BLOCK) {
            int64_t n = fl_min(job->length - j, FL_BLOCK);
            const real *from;
            R(row_blocks)(job, 1, &offset, j, n, room, &from);
            memcpy(row + j, from, (size_t)n * sizeof(real));
        }
        for (int64_t i = 0; i < whole; i++)
            joins[i] = (uint64_t)0 - (uint64_t)(i < job->length);
        for (int64_t i = job->length; i < whole; i++)
            row[i] = 0;
        for (int64_t i = 0; i < labels; i++) {
            known.picked = (double)row[label[i]];
            k[i] = kernel.begin(&known, job->param);
            joins[label[i]] = 0;
        }
        for (int64_t i = 0; i < labels; i++) {
            FL_ALIGNED(64) double sums[SUMS * SUM_LANES] = {0};
            R(sums) s;
            R(add_groups)(sums, in, whole, joins, walk, &k[i], job->param);
            R(join_lanes)(sums, walk);
            s = R(sums_at)(sums, SUM_LANES, walk.sums);
            value += kernel.finish(&s, &known, job->param, &k[i]);
        }
        rounded = (real)value;
        R(add_values)(totals.sum, &rounded, 1, l);
        if (job->value)
            ((real *)job->value)[first + l] = rounded;
        if (!job->grad[0].row.data)
            continue;
        R(row_offsets)(job->grad, 1, first + l, &to);
        for (int64_t j = 0; j < job->length; j += FL_BLOCK) {
            int64_t n = fl_min(job->length - j, FL_BLOCK);
            FL_ALIGNED(64) double slopes[FL_BLOCK] = {0};
            for (int64_t i = 0; i < labels; i++) {
                const R(factors) factors = k[i];
                FL_SIMD
                for (int64_t c = 0; c < n; c++) {
                    R(operands) o = {row[j + c], 0, 0, 0, 0};
                    double slope = (double)kernel.grad(o, &factors, job->param).a;
                    slopes[c] += joins[j + c] ? slope : 0;
                }
            }
            for (int64_t i = 0; i < labels; i++)
                if (label[i] >= j && label[i] < j + n)
                    slopes[label[i] - j] += k[i].at_label;
            FL_SIMD
            for (int64_t c = 0; c < n; c++)
                room->grad[0][c] = (real)r64_with_nan(value, slopes[c]);
            R(put_row_blocks)(job, 1, &to, j, n, room);
        }
    }
    if (job->stream)
        fl_stream_end();
    R(leave)(&totals, partial);
}
