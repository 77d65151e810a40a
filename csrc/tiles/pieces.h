/* Rows whose classes come in pieces, as where the logits are made a piece at a time: the scan of tiles/scan.h goes on from
 * what it left behind, and a piece's derivatives come from what all of them found. Pieces of whole blocks give the bits of
 * the row in one; only the kernel's own sums, seen from a maximum that grows, are added up in another way. */

FL_INLINE R(scan) R(seen)(const fl_carry *c) {
    R(scan) s = {(real)c->max, R(unit_of)((real)c->max), c->count, c->rest, 0, 0, 0, 0};
    return s;
}

/* Takes a piece in. With a larger maximum every class's m - x grows alike. */
FL_INLINE void R(scan_piece)(const fl_rowwise *job, const char *row, const char *next, R(foresight) *ahead,
                             int64_t label, int wants_dot, const R(row_params) *p, R(rowwise_kernel) kernel,
                             fl_carry *c) {
    R(scan) s = job->first_class == 0 ? R(nothing_seen)() : R(seen)(c);
    const double before = (double)R(shift_of)(s.max);
    if (job->first_class == 0)
        c->picked = c->dot = c->mass = 0;
    s = R(scan_on)(job, s, row, next, ahead);
    c->max = (double)s.max, c->count = s.count, c->rest = s.rest;
    if (label >= 0 && label < job->classes) {
        real picked;
        c->picked = (double)*R(classes)(&job->input, row, label, 1, (real)job->softcap, &picked);
    }
    if (wants_dot) {
        R(own_sums) sums = R(dot_row)(job, row, NULL, p, kernel, s.unit, R(shift_of)(s.max));
        c->dot += r64_times(c->mass, (double)R(shift_of)(s.max) - before) + sums.dot;
        c->mass += sums.mass;
    }
}

FL_INLINE void R(walk_pieces)(const fl_rowwise *job, const R(group) *g, const R(row_params) *p,
                              R(rowwise_kernel) kernel, real *value) {
    const int wants_dot = (kernel.needs & MAY_DOT) && job->param[0] != 0;
    R(foresight) ahead;
    FL_ALIGNED(64) R(scans) found;
    FL_ALIGNED(64) real picked[LANES], dot[LANES], mass[LANES];
    for (int l = 0; l < LANES; l++) {
        const int known = job->phase != FL_SCAN && l < g->rows && g->active[l];
        const fl_carry none = {-REAL_INF, 0, 0, 0, 0, 0}, c = known ? job->carry[g->first + l] : none;
        R(set_unit)(&found, l, (real)c.max);
        found.others[l] = R(others)(c.rest, c.count, found.top[l]), found.tilt[l] = 0, found.squares[l] = 0;
        picked[l] = (real)c.picked, dot[l] = (real)c.dot, mass[l] = (real)c.mass;
        value[l] = 0;
    }
    if (job->phase == FL_VALUE) {
        R(finish_lanes)(job, &found, g, picked, dot, mass, p, kernel, 0, value, NULL);
        return;
    }
    ahead.known = ahead.turn = 0;
    for (int l = 0; l < g->rows; l++) {
        const int64_t at = g->first + l, label = g->label[l] - job->first_class;
        const char *row = fl_locate(&job->input.rows, at).at;
        const char *next = l + 1 < g->rows ? fl_locate(&job->input.rows, at + 1).at : NULL;
        R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
        R(summary) s;
        if (!g->active[l]) {
            ahead.known = 0;
            if (job->phase == FL_DERIVE)
                R(zero_row)(&job->grad, at, job->classes);
        } else if (job->phase == FL_SCAN) {
            R(scan_piece)(job, row, next, &ahead, label, wants_dot, p, kernel, &job->carry[at]);
        } else {
            s = R(summarise)(&found, g, picked, dot, mass, l);
            kernel.finish(&s, p, &k);
            R(put_row)(job, row, NULL, at, label, R(lane_unit)(&found, l), R(shift_of)(found.max[l]), NULL, p, &k,
                       kernel);
        }
    }
}
