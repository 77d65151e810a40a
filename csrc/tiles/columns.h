/* Rows together, a row in each lane: for rows of few classes, and for a class axis that is not the last. */

enum { R(sub) = 8 }; /* classes added up in `real` before float64 takes over */

/* The new maxima of the lanes, and what was found so far in their units. */
FL_INLINE void R(raise_lanes)(R(scans) *s, const real *top, int tilt) {
    int raised = 0;
    FL_SIMD_REDUCE(|, raised)
    for (int l = 0; l < LANES; l++)
        raised |= (top[l] > s->max[l]) & (s->max[l] > -REAL_INF);
    if (!raised) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            R(set_unit)(s, l, top[l]);
        return;
    }
    for (int l = 0; l < LANES; l++) {
        R(unit) from = R(lane_unit)(s, l);
        double all = s->rest[l] + (double)s->count[l] * (double)from.top, factor;
        real before = s->max[l];
        if (!(top[l] > before))
            continue;
        R(set_unit)(s, l, top[l]);
        s->count[l] = 0;
        if (!(before > -REAL_INF))
            continue;
        factor = R(rescale)(from, R(lane_unit)(s, l));
        if (tilt)
            s->tilt[l] = r64_times(factor, s->tilt[l] + ((double)top[l] - (double)before) * all);
        s->rest[l] = factor * all;
    }
}

FL_INLINE void R(scan_panel)(R(scans) *s, R(panel) x, int64_t n, int tilt, real *kept) {
    FL_ALIGNED(64) real top[LANES], sums[LANES], tilts[LANES];
    memcpy(top, s->max, sizeof top);
    for (int64_t c = 0; c < n; c++) {
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            top[l] = R(max)(x.at[c * x.step + l], top[l]);
    }
    R(raise_lanes)(s, top, tilt);
    for (int64_t start = 0; start < n; start += R(sub)) {
        FL_ALIGNED(64) bits_t counts[LANES] = {0};
        int64_t end = fl_min(start + R(sub), n);
        for (int l = 0; l < LANES; l++)
            sums[l] = tilts[l] = 0;
        for (int64_t c = start; c < end; c++) {
            FL_SIMD
            for (int l = 0; l < LANES; l++) {
                real v = x.at[c * x.step + l], e = R(exp_in)(R(lane_unit)(s, l), v);
                bits_t same = (bits_t)0 - (bits_t)(v == s->max[l]);
                kept[c * LANES + l] = e;
                e = R(from_bits)(R(to_bits)(e) & ~same);
                counts[l] -= same;
                sums[l] += e;
                if (tilt)
                    tilts[l] += R(times)(e, s->max[l] - v);
            }
        }
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            s->count[l] += (real)(int32_t)counts[l];
            s->rest[l] += (double)sums[l];
            if (tilt)
                s->tilt[l] += (double)tilts[l];
        }
    }
}

FL_INLINE void R(rank_panel)(R(scans) *s, R(panel) x, int64_t j, int64_t n, const R(group) *g, const real *picked,
                             const real *before) {
    for (int64_t c = n - 1; c >= 0; c--) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real v = x.at[c * x.step + l];
            s->ahead[l] += (v > picked[l]) | ((v == picked[l]) & (j + c < g->label[l]));
            s->first[l] = (v == s->max[l]) & (s->max[l] > before[l]) ? (int32_t)(j + c) : s->first[l];
        }
    }
}

FL_INLINE void R(scan_columns)(R(scans) *s, const fl_rowwise *job, const R(group) *g, const real *picked, R(panel) x,
                               real *flat, real *buffer, real *kept, int needs) {
    for (int l = 0; l < LANES; l++)
        s->max[l] = -REAL_INF, s->count[l] = 0, s->rest[l] = 0;
    for (int l = 0; needs & NEEDS_TILT && l < LANES; l++)
        s->tilt[l] = 0;
    for (int l = 0; needs & NEEDS_RANK && l < LANES; l++)
        s->first[l] = s->ahead[l] = 0;
    for (int64_t j = 0; j < job->classes; j += FL_NARROW) {
        int64_t n = fl_min(job->classes - j, FL_NARROW);
        real before[LANES];
        if (j > 0)
            x = R(load_panel)(&job->input, g->first, g->rows, j, n, (real)job->softcap, flat, buffer);
        if (needs & NEEDS_RANK)
            memcpy(before, s->max, sizeof before);
        R(scan_panel)(s, x, n, needs & NEEDS_TILT, kept);
        if (needs & NEEDS_RANK)
            R(rank_panel)(s, x, j, n, g, picked, before);
    }
}

FL_NOINLINE void R(scan_columns_plain)(R(scans) *s, const fl_rowwise *job, const R(group) *g, R(panel) x, real *flat,
                                       real *buffer, real *kept) {
    R(scan_columns)(s, job, g, NULL, x, flat, buffer, kept, NEEDS_EXP);
}
FL_NOINLINE void R(scan_columns_tilt)(R(scans) *s, const fl_rowwise *job, const R(group) *g, R(panel) x, real *flat,
                                      real *buffer, real *kept) {
    R(scan_columns)(s, job, g, NULL, x, flat, buffer, kept, NEEDS_EXP | NEEDS_TILT);
}
FL_NOINLINE void R(scan_columns_rank)(R(scans) *s, const fl_rowwise *job, const R(group) *g, const real *picked,
                                      R(panel) x, real *flat, real *buffer, real *kept) {
    R(scan_columns)(s, job, g, picked, x, flat, buffer, kept, NEEDS_EXP | NEEDS_TILT | NEEDS_RANK);
}

/* The targets' logits: from the panel when it holds all classes, else from memory. */
FL_INLINE void R(pick)(const fl_rowwise *job, const R(group) *g, R(panel) x, real *picked) {
    if (g->all_active && g->rows == LANES && job->classes <= FL_NARROW) {
        for (int l = 0; l < LANES; l++)
            picked[l] = x.at[g->label[l] * x.step + l];
        return;
    }
    for (int l = 0; l < LANES; l++)
        if (!g->active[l])
            picked[l] = 0;
        else if (job->classes <= FL_NARROW)
            picked[l] = x.at[g->label[l] * x.step + l];
        else
            picked[l] = *R(classes)(&job->input, fl_locate(&job->input.rows, g->first + l).at, g->label[l], 1,
                                    (real)job->softcap, &picked[l]);
}

/* Derivatives of a panel's classes; with `from_kept` e is what the scan kept. */
FL_INLINE void R(panel_classes)(real *out, real *hess, R(panel) x, R(panel) y, const real *class_weight,
                                const real *kept, int64_t n, const R(scans) *s, const R(lane_coefficients) *lanes,
                                const R(row_params) *p, R(rowwise_kernel) kernel, int from_kept, int wants_hess) {
    for (int64_t c = 0; c < n; c++) {
        real w = class_weight ? class_weight[c] : 1;
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real v = x.at[c * x.step + l];
            R(class_of) of = {v, v - R(shift_of)(s->max[l]), 0, y.at[c * y.step + l], w};
            R(coefficients) k = {lanes->factor[l], lanes->offset[l], lanes->top[l],      lanes->others[l],
                                 lanes->curve[l],  lanes->bend[l],   lanes->at_target[l]};
            of.e = from_kept ? kept[c * LANES + l] : R(exp_in)(R(lane_unit)(s, l), v);
            out[c * LANES + l] = kernel.grad(of, p, &k);
            if (wants_hess)
                hess[c * LANES + l] = kernel.hess(of, p, &k);
        }
    }
}

FL_INLINE void R(walk_columns)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                               R(rowwise_kernel) kernel, real *value) {
    FL_ALIGNED(64) real flat[R(panel_size)], buffer[R(panel_size)], dense_buffer[R(panel_size)], out[R(panel_size)];
    FL_ALIGNED(64) real kept[R(panel_size)]; /* e of the last panel that was scanned */
    FL_ALIGNED(64) real picked[LANES] = {0}, dot[LANES] = {0}, mass[LANES] = {0};
    const real *class_weight = (const real *)job->weight;
    const real softcap = (real)job->softcap;
    int wants_dot = (kernel.needs & NEEDS_DOT) || ((kernel.needs & MAY_DOT) && job->param[0] != 0);
    R(panel) x = R(load_panel)(&job->input, g->first, g->rows, 0, fl_min(job->classes, FL_NARROW), softcap, flat,
                               buffer),
             y = x;
    R(lane_coefficients) lanes;
    R(scans) s;
    if (kernel.needs & NEEDS_LABEL)
        R(pick)(job, g, x, picked);
    if (!(kernel.needs & NEEDS_TILT))
        memset(s.tilt, 0, sizeof s.tilt);
    if (kernel.needs & NEEDS_RANK)
        R(scan_columns_rank)(&s, job, g, picked, x, flat, buffer, kept);
    else if (kernel.needs & NEEDS_TILT)
        R(scan_columns_tilt)(&s, job, g, x, flat, buffer, kept);
    else if (kernel.needs & NEEDS_EXP)
        R(scan_columns_plain)(&s, job, g, x, flat, buffer, kept);
    else
        for (int l = 0; l < LANES; l++)
            R(set_unit)(&s, l, -REAL_INF), s.count[l] = 0, s.rest[l] = 0;
    if (wants_dot) {
        double dots[LANES] = {0}, masses[LANES] = {0};
        for (int64_t j = 0; j < job->classes; j += FL_NARROW) {
            int64_t n = fl_min(job->classes - j, FL_NARROW);
            if (job->classes > FL_NARROW)
                y = x = R(load_panel)(&job->input, g->first, g->rows, j, n, softcap, flat, buffer);
            if (job->dense.rows.data)
                y = R(load_panel)(&job->dense, g->first, g->rows, j, n, 0, flat, dense_buffer);
            for (int64_t c = 0; c < n; c++) {
                real w = class_weight ? class_weight[j + c] : 1;
                FL_SIMD
                for (int l = 0; l < LANES; l++) {
                    real v = x.at[c * x.step + l];
                    R(class_of) of = {v, v - R(shift_of)(s.max[l]), 0, y.at[c * y.step + l], w};
                    R(dots) found;
                    of.e = R(exp_in)(R(lane_unit)(&s, l), v);
                    found = kernel.dot(of, p);
                    dots[l] += (double)found.dot;
                    masses[l] += (double)found.mass;
                }
            }
        }
        for (int l = 0; l < LANES; l++)
            dot[l] = (real)dots[l], mass[l] = (real)masses[l];
    }
    if (job->hess.rows.data)
        R(finish_lanes)(&s, g, picked, dot, mass, p, kernel, 2, value, &lanes);
    else if (job->grad.rows.data || kernel.needs & NEEDS_RANK)
        R(finish_lanes)(&s, g, picked, dot, mass, p, kernel, 1, value, &lanes);
    else
        R(finish_lanes)(&s, g, picked, dot, mass, p, kernel, 0, value, &lanes);
    if (kernel.needs & NEEDS_RANK) {
        R(put_scores)(job, g, &lanes);
        for (int l = 0; l < g->rows; l++) {
            int64_t at = g->first + l;
            int valid = s.rest[l] == s.rest[l];
            job->rank[at] = !g->active[l] ? -1 : valid ? s.ahead[l] : job->classes;
            job->prediction[at] = valid ? s.first[l] : -1;
        }
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
            y = x = R(load_panel)(&job->input, g->first, g->rows, j, n, softcap, flat, buffer);
        if (job->dense.rows.data)
            y = R(load_panel)(&job->dense, g->first, g->rows, j, n, 0, flat, dense_buffer);
        w = class_weight ? class_weight + j : NULL;
        if (wants_hess)
            R(panel_classes)(out, hess, x, y, w, NULL, n, &s, &lanes, p, kernel, 0, 1);
        else if (from_kept)
            R(panel_classes)(out, hess, x, y, w, kept, n, &s, &lanes, p, kernel, 1, 0);
        else
            R(panel_classes)(out, hess, x, y, w, NULL, n, &s, &lanes, p, kernel, 0, 0);
        if (kernel.needs & NEEDS_LABEL)
            for (int l = 0; l < g->rows; l++)
                if (g->active[l] && g->label[l] >= j && g->label[l] < j + n)
                    out[(g->label[l] - j) * LANES + l] = lanes.at_target[l];
        if (softcap != 0) {
            R(panel) plain = R(load_panel)(&job->input, g->first, g->rows, j, n, 0, flat, dense_buffer);
            for (int64_t c = 0; c < n; c++)
                R(uncap)(plain.at + c * plain.step, x.at + c * x.step, LANES, softcap, out + c * LANES,
                         wants_hess ? hess + c * LANES : NULL);
        }
        if (!g->all_active)
            for (int l = 0; l < g->rows; l++)
                for (int64_t c = 0; c < n && !g->active[l]; c++)
                    out[c * LANES + l] = hess[c * LANES + l] = 0;
        R(store_panel)(&job->grad, g->first, g->rows, j, n, out, flat, job->stream);
        if (wants_hess)
            R(store_panel)(&job->hess, g->first, g->rows, j, n, hess, flat, job->stream);
    }
}
