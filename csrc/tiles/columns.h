/* Rows together, a row in each lane: for rows of few classes, and for a class axis that is not the last. */

/* The new maxima of the lanes, and what was found so far in their units. */
FL_INLINE void R(raise_lanes)(R(scans) *s, const real *top, int needs) {
    int raised = 0;
    FL_SIMD_REDUCE(|, raised)
    for (int l = 0; l < LANES; l++)
        raised |= (top[l] > s->max[l]) & (s->max[l] > -REAL_INF);
    if (!raised) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            s->count[l] = top[l] > s->max[l] ? 0 : s->count[l];
            R(set_unit)(s, l, top[l]);
        }
        return;
    }
    for (int l = 0; l < LANES; l++) {
        R(unit) from = R(lane_unit)(s, l);
        const double count = s->count[l], all = s->rest[l] + count * (double)from.top;
        double factor;
        real before = s->max[l];
        if (!(top[l] > before))
            continue;
        R(set_unit)(s, l, top[l]);
        s->count[l] = 0;
        if (!(before > -REAL_INF))
            continue;
        factor = top[l] < REAL_INF ? R(rescale)(from, R(lane_unit)(s, l)) : 0;
        if (needs & NEEDS_TILT)
            s->tilt[l] = r64_times(factor, s->tilt[l] + ((double)top[l] - (double)before) * all);
        if (needs & NEEDS_SQUARES)
            s->squares[l] = factor * factor * (s->squares[l] + count * (double)from.top * (double)from.top);
        s->rest[l] = factor * all;
    }
}

FL_INLINE void R(max_panel)(real *top, R(panel) x, int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            top[l] = R(max)(x.at[c * x.step + l], top[l]);
    }
}

/* e of one class of every row; into the sums goes 0 for a largest class, which is counted instead (see R(exp_lanes)). */
FL_INLINE void R(exp_class)(const R(scans) *s, const real *x, real *sums, real *tilts, real *squares, bits_t *counts,
                            int needs) {
    FL_SIMD
    for (int l = 0; l < LANES; l++) {
        real v = x[l], e = R(exp_in)(R(lane_unit)(s, l), v);
        bits_t same = (bits_t)0 - (bits_t)(v == s->max[l]);
        e = R(from_bits)(R(to_bits)(e) & ~same);
        counts[l] -= same;
        sums[l] += e;
        if (needs & NEEDS_SQUARES)
            squares[l] += e * e;
        if (needs & NEEDS_TILT)
            tilts[l] = R(fma)(e, R(below_max)(R(lane_unit)(s, l), R(shift_of)(s->max[l]), v), tilts[l]);
    }
}

FL_INLINE void R(add_counts)(R(scans) *s, const bits_t *counts) {
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        s->count[l] += s->max[l] > -REAL_INF ? (double)(int32_t)counts[l] : 0;
}

/* Partial sums [part][lane] to one per lane, in the order of R(fold_sums). */
FL_NOINLINE void R(fold_parts)(double *parts) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half * LANES; i++)
            parts[i] += parts[i + half * LANES];
}

FL_NOINLINE void R(add_parts)(double *to, const real *parts) {
    FL_ALIGNED(64) double wide[LANES * LANES];
    for (int i = 0; i < LANES * LANES; i++)
        wide[i] = (double)parts[i];
    R(fold_parts)(wide);
    for (int l = 0; l < LANES; l++)
        to[l] += wide[l];
}

/* Classes that come before the labels, of a panel that begins with class j. */
FL_INLINE void R(rank_panel)(R(scans) *s, R(panel) x, int64_t j, int64_t n, int lanes, const real *picked,
                             const bits_t *label) {
    for (int64_t first = 0; first < lanes; first += LANES) {
        FL_ALIGNED(64) bits_t above[LANES] = {0};
        for (int64_t c = 0; c < n; c++) {
            const bits_t here = (bits_t)(j + c);
            FL_SIMD
            for (int i = 0; i < LANES; i++) {
                const int64_t l = first + i;
                const real v = x.at[c * x.step + l];
                const int ahead = (v > picked[l]) | ((v == picked[l]) & (here < label[l]));
                above[i] = ahead ? above[i] + 1 : above[i];
            }
        }
        FL_SIMD
        for (int i = 0; i < LANES; i++)
            s->ahead[first + i] += (int32_t)above[i];
    }
}

/* The first largest class where the maximum is larger than `before`, which is then the new maximum. */
FL_INLINE void R(first_panel)(R(scans) *s, R(panel) x, int64_t j, int64_t n, int lanes, real *before) {
    int32_t first[R(most_lanes)];
    for (int l = 0; l < lanes; l++)
        first[l] = -1;
    for (int64_t c = n - 1; c >= 0; c--)
        for (int64_t block = 0; block < lanes; block += LANES) {
            FL_SIMD
            for (int i = 0; i < LANES; i++) {
                const int64_t l = block + i;
                first[l] = x.at[c * x.step + l] == s->max[l] ? (int32_t)(j + c) : first[l];
            }
        }
    for (int l = 0; l < lanes; l++)
        if (first[l] >= 0 && s->max[l] > before[l]) {
            s->first[l] = first[l];
            before[l] = s->max[l];
        }
}

/* One block of wide rows: the sums of R(scan_block), class j in part j % LANES, so that a row has the same bits whether it
 * is walked with others or alone. */
FL_INLINE void R(scan_wide)(R(scans) *s, const fl_rowwise *job, const R(group) *g, const real *picked,
                            const bits_t *label, real *flat, real *buffer, int64_t j, int64_t end, int needs) {
    FL_ALIGNED(64) real top[LANES], before[LANES], sums[LANES * LANES], tilts[LANES * LANES], squares[LANES * LANES];
    FL_ALIGNED(64) bits_t counts[LANES] = {0};
    memset(sums, 0, sizeof sums);
    if (needs & NEEDS_TILT)
        memset(tilts, 0, sizeof tilts);
    if (needs & NEEDS_SQUARES)
        memset(squares, 0, sizeof squares);
    memcpy(top, s->max, sizeof top);
    memcpy(before, s->max, sizeof before);
    for (int64_t i = j; i < end; i += FL_NARROW) {
        int64_t n = fl_min(end - i, FL_NARROW);
        R(max_panel)(top, R(load_panel)(&job->input, g, i, n, (real)job->softcap, flat, buffer), n);
    }
    R(raise_lanes)(s, top, needs);
    for (int64_t i = j; i < end; i += FL_NARROW) {
        int64_t n = fl_min(end - i, FL_NARROW);
        R(panel) x = R(load_panel)(&job->input, g, i, n, (real)job->softcap, flat, buffer);
        for (int64_t c = 0; c < n; c++) {
            int64_t part = (i - j + c) % LANES * LANES;
            R(exp_class)(s, x.at + c * x.step, sums + part, tilts + part, squares + part, counts, needs);
        }
        if (needs & NEEDS_RANK)
            R(rank_panel)(s, x, i, n, g->lanes, picked, label);
        if (needs & NEEDS_FIRST)
            R(first_panel)(s, x, i, n, g->lanes, before);
    }
    R(add_counts)(s, counts);
    R(add_parts)(s->rest, sums);
    if (needs & NEEDS_TILT)
        R(add_parts)(s->tilt, tilts);
    if (needs & NEEDS_SQUARES)
        R(add_parts)(s->squares, squares);
}

FL_INLINE void R(scan_columns)(R(scans) *s, const fl_rowwise *job, const R(group) *g, real *picked, const bits_t *label,
                               R(panel) x, real *flat, real *buffer, R(outgoing) *outgoing, real *kept, int needs) {
    real before[R(most_lanes)];
    for (int l = 0; needs & NEEDS_RANK && l < g->lanes; l++)
        s->first[l] = s->ahead[l] = 0, before[l] = -REAL_INF;
    if (job->classes <= FL_NARROW) {
        int64_t bytes;
        const char *ahead = R(rows_ahead)(&job->input, g->first, g->rows, job->classes, &bytes);
        const int keep = !(needs & NEEDS_RANK) && job->grad.rows.data != NULL;
        const bits_t *compared = job->classes <= R(most_compared) ? label : NULL;
        R(scan_narrow)(s, x, job->classes, g->lanes, compared, picked, ahead, bytes, outgoing, needs, keep, kept);
        if (needs & NEEDS_RANK)
            R(rank_panel)(s, x, 0, job->classes, g->lanes, picked, label);
        if (needs & NEEDS_FIRST)
            R(first_panel)(s, x, 0, job->classes, g->lanes, before);
        return;
    }
    for (int l = 0; l < LANES; l++)
        s->max[l] = -REAL_INF, s->count[l] = s->rest[l] = s->tilt[l] = s->squares[l] = 0;
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK)
        R(scan_wide)(s, job, g, picked, label, flat, buffer, j, fl_min(j + FL_BLOCK, job->classes), needs);
    for (int l = 0; l < LANES; l++) {
        s->others[l] = R(others)(s->rest[l], s->count[l], s->top[l]);
        s->squares[l] += (s->count[l] - 1) * (double)s->top[l] * (double)s->top[l];
    }
}

#define SCAN_COLUMNS(name, needs)                                                                                      \
    FL_NOINLINE void R(name)(R(scans) *s, const fl_rowwise *job, const R(group) *g, real *picked, const bits_t *label, \
                             R(panel) x, real *flat, real *buffer, R(outgoing) *outgoing, real *kept) {                \
        R(scan_columns)(s, job, g, picked, label, x, flat, buffer, outgoing, kept, needs);                             \
    }
SCAN_COLUMNS(scan_columns_plain, NEEDS_EXP)
SCAN_COLUMNS(scan_columns_tilt, NEEDS_EXP | NEEDS_TILT)
SCAN_COLUMNS(scan_columns_rank, score_outcome_needs)
SCAN_COLUMNS(scan_columns_first, score_needs)
SCAN_COLUMNS(scan_columns_squares, score_outcome_brier_needs)
#undef SCAN_COLUMNS

/* The labels as integers of the lanes' width; those of rows that are not active mean nothing. */
FL_INLINE void R(lane_labels)(const R(group) *g, bits_t *label) {
    for (int64_t first = 0; first < g->lanes; first += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            label[first + l] = (bits_t)g->label[first + l];
    }
}

/* The targets' logits that the scan does not pick: from the panel when it holds all classes, else from memory. */
FL_INLINE void R(pick)(const fl_rowwise *job, const R(group) *g, R(panel) x, real *picked) {
    for (int l = 0; l < g->lanes; l++)
        if (!g->active[l])
            picked[l] = 0;
        else if (job->classes <= FL_NARROW)
            picked[l] = x.at[g->label[l] * x.step + l];
        else
            picked[l] = *R(classes)(&job->input, fl_locate(&job->input.rows, g->first + l).at, g->label[l], 1,
                                    (real)job->softcap, &picked[l]);
}

/* Derivatives of a panel's classes, from class j on; with `from_kept` e is what the scan kept in their place. */
FL_INLINE void R(panel_classes)(real *restrict out, real *restrict hess, R(panel) x, R(panel) y,
                                const real *class_weight, const bits_t *label, int64_t j, int64_t n, int count,
                                const R(scans) *s, const R(lane_coefficients) *lanes, const R(row_params) *p,
                                R(rowwise_kernel) kernel, int from_kept, int wants_hess) {
    for (int64_t first = 0; first < count; first += LANES)
        for (int64_t c = 0; c < n; c++) {
            real w = class_weight ? class_weight[c] : 1;
            FL_SIMD
            for (int i = 0; i < LANES; i++) {
                const int64_t l = first + i;
                real v = x.at[c * x.step + l], grad;
                R(class_of) of = {v, v - R(shift_of)(s->max[l]), 0, y.at[c * y.step + l], w};
                R(coefficients) k = {lanes->factor[l], lanes->offset[l], lanes->top[l],      lanes->others[l],
                                     lanes->curve[l],  lanes->bend[l],   lanes->at_target[l]};
                of.e = from_kept ? out[c * count + l] : R(exp_in)(R(lane_unit)(s, l), v);
                grad = kernel.grad(of, p, &k);
                if (kernel.needs & NEEDS_LABEL)
                    grad = label[l] == (bits_t)(j + c) ? k.at_target : grad;
                out[c * count + l] = grad;
                if (wants_hess)
                    hess[c * count + l] = kernel.hess(of, p, &k);
            }
        }
}

/* The ranks: beyond the last class where a logit is NaN, -1 where a row does not count. */
FL_INLINE void R(put_ranks)(const fl_rowwise *job, const R(group) *g, R(scans) *s) {
    const int32_t classes = (int32_t)job->classes;
    const int rows = (int)g->rows;
    int64_t *rank = job->rank + (g->first - job->origin);
    FL_SIMD
    for (int l = 0; l < R(most_lanes); l++)
        s->ahead[l] = s->others[l] == s->others[l] ? s->ahead[l] : classes;
    for (int l = 0; !g->all_active && l < rows; l++)
        s->ahead[l] = g->active[l] ? s->ahead[l] : -1;
    FL_SIMD
    for (int l = 0; l < rows; l++)
        rank[l] = s->ahead[l];
}

/* Room for panels. A load waits for a store to the same place in any page: what is written while another is read has the
 * place of lines that have been read already. */
typedef struct {
    FL_ALIGNED(64) real out[R(panel_size)], off[2 * LANES]; /* derivatives; before that, e of narrow rows */
    real buffer[R(panel_size)], flat[R(panel_size)], dense[R(panel_size)];
} R(panels);

FL_INLINE void R(walk_columns)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                               R(rowwise_kernel) kernel, R(outgoing) *outgoing, real *value) {
    FL_ALIGNED(64) R(panels) room;
    real *flat = room.flat, *buffer = room.buffer, *dense_buffer = room.dense, *out = room.out;
    FL_ALIGNED(64) real picked[R(most_lanes)], dot[R(most_lanes)], mass[R(most_lanes)];
    FL_ALIGNED(64) bits_t label[R(most_lanes)];
    const bits_t *labels = kernel.needs & NEEDS_LABEL ? label : NULL;
    const real *class_weight = (const real *)job->weight;
    const real softcap = (real)job->softcap;
    int wants_dot = (kernel.needs & NEEDS_DOT) || ((kernel.needs & MAY_DOT) && job->param[0] != 0);
    R(panel) x = R(load_panel)(&job->input, g, 0, fl_min(job->classes, FL_NARROW), softcap, flat, buffer), y = x;
    FL_ALIGNED(64) R(lane_coefficients) lanes;
    FL_ALIGNED(64) R(scans) s;
    if (!R(is_plain)(job, g))
        for (int l = 0; l < R(most_lanes); l++)
            dot[l] = mass[l] = 0;
    if (kernel.needs & NEEDS_LABEL) {
        R(lane_labels)(g, label);
        if (!(kernel.needs & NEEDS_EXP) || job->classes > R(most_compared))
            R(pick)(job, g, x, picked);
    }
    if (kernel.needs & NEEDS_SQUARES)
        R(scan_columns_squares)(&s, job, g, picked, labels, x, flat, buffer, outgoing, out);
    else if (kernel.needs & NEEDS_FIRST)
        R(scan_columns_first)(&s, job, g, picked, labels, x, flat, buffer, outgoing, out);
    else if (kernel.needs & NEEDS_RANK)
        R(scan_columns_rank)(&s, job, g, picked, labels, x, flat, buffer, outgoing, out);
    else if (kernel.needs & NEEDS_TILT)
        R(scan_columns_tilt)(&s, job, g, picked, labels, x, flat, buffer, outgoing, out);
    else if (kernel.needs & NEEDS_EXP)
        R(scan_columns_plain)(&s, job, g, picked, labels, x, flat, buffer, outgoing, out);
    else
        for (int l = 0; l < g->lanes; l++)
            R(set_unit)(&s, l, -REAL_INF), s.others[l] = 0;
    if (wants_dot) {
        FL_ALIGNED(64) double dots[LANES * LANES], masses[LANES * LANES];
        for (int64_t first = 0; first < g->lanes; first += LANES) { /* more than once only for narrow rows */
            memset(dots, 0, sizeof dots);
            memset(masses, 0, sizeof masses);
            for (int64_t j = 0; j < job->classes; j += FL_NARROW) {
                int64_t n = fl_min(job->classes - j, FL_NARROW);
                if (job->classes > FL_NARROW)
                    y = x = R(load_panel)(&job->input, g, j, n, softcap, flat, buffer);
                if (job->dense.rows.data && first == 0)
                    y = R(load_panel)(&job->dense, g, j, n, 0, flat, dense_buffer);
                for (int64_t c = 0; c < n; c++) {
                    int64_t part = c % LANES * LANES;
                    real w = class_weight ? class_weight[j + c] : 1;
                    FL_SIMD
                    for (int l = 0; l < LANES; l++) {
                        int64_t lane = first + l;
                        real v = x.at[c * x.step + lane];
                        R(class_of) of = {v, v - R(shift_of)(s.max[lane]), 0, y.at[c * y.step + lane], w};
                        R(dots) found;
                        of.e = R(exp_in)(R(lane_unit)(&s, lane), v);
                        found = kernel.dot(of, p);
                        dots[part + l] += (double)found.dot;
                        masses[part + l] += (double)found.mass;
                    }
                }
            }
            R(fold_parts)(dots);
            R(fold_parts)(masses);
            for (int l = 0; l < LANES; l++)
                dot[first + l] = (real)dots[l], mass[first + l] = (real)masses[l];
        }
    }
    if (job->hess.rows.data)
        R(finish_lanes)(job, &s, g, picked, dot, mass, p, kernel, 2, value, &lanes);
    else if (job->grad.rows.data || kernel.needs & NEEDS_RANK)
        R(finish_lanes)(job, &s, g, picked, dot, mass, p, kernel, 1, value, &lanes);
    else
        R(finish_lanes)(job, &s, g, picked, dot, mass, p, kernel, 0, value, &lanes);
    if (kernel.needs & NEEDS_RANK) {
        R(put_scores)(job, g, &lanes);
        R(put_ranks)(job, g, &s);
        for (int l = 0; kernel.needs & NEEDS_FIRST && l < g->rows; l++)
            job->prediction[g->first - job->origin + l] = s.others[l] == s.others[l] ? s.first[l] : -1;
    }
    if (!job->grad.rows.data)
        return;
    for (int64_t j = 0; j < job->classes; j += FL_NARROW) {
        int64_t n = fl_min(job->classes - j, FL_NARROW);
        FL_ALIGNED(64) real hess[R(panel_size)];
        const int wants_hess = job->hess.rows.data != NULL;
        const int from_kept = (kernel.needs & NEEDS_EXP) && job->classes <= FL_NARROW;
        const real *w;
        if (job->classes > FL_NARROW)
            y = x = R(load_panel)(&job->input, g, j, n, softcap, flat, buffer);
        if (job->dense.rows.data)
            y = R(load_panel)(&job->dense, g, j, n, 0, flat, dense_buffer);
        w = class_weight ? class_weight + j : NULL;
        if (wants_hess)
            R(panel_classes)(out, hess, x, y, w, label, j, n, g->lanes, &s, &lanes, p, kernel, 0, 1);
        else if (from_kept && !w)
            R(panel_classes)(out, hess, x, y, NULL, label, j, n, g->lanes, &s, &lanes, p, kernel, 1, 0);
        else if (from_kept)
            R(panel_classes)(out, hess, x, y, w, label, j, n, g->lanes, &s, &lanes, p, kernel, 1, 0);
        else
            R(panel_classes)(out, hess, x, y, w, label, j, n, g->lanes, &s, &lanes, p, kernel, 0, 0);
        if (softcap != 0) {
            R(panel) plain = R(load_panel)(&job->input, g, j, n, 0, flat, dense_buffer);
            for (int64_t c = 0; c < n; c++)
                R(uncap)(plain.at + c * plain.step, x.at + c * x.step, g->lanes, softcap, out + c * g->lanes,
                         wants_hess ? hess + c * g->lanes : NULL);
        }
        if (!g->all_active)
            for (int l = 0; l < g->rows; l++)
                for (int64_t c = 0; c < n && !g->active[l]; c++)
                    out[c * g->lanes + l] = hess[c * g->lanes + l] = 0;
        if (!(job->stream && n == job->classes && R(send_off)(outgoing, &job->grad, g, n, out)))
            R(store_panel)(&job->grad, g, j, n, out, flat, job->stream);
        if (wants_hess)
            R(store_panel)(&job->hess, g, j, n, hess, flat, job->stream);
    }
}
