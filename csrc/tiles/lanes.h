/* What is known of a group's rows, a row in each lane, whichever way they were walked; and their losses from it. */

/* What the scan has found, per lane; as R(scan). */
typedef struct {
    real max[R(most_lanes)];
    real base[R(most_lanes)], k[R(most_lanes)], magic[R(most_lanes)], low[R(most_lanes)],
        top[R(most_lanes)];     /* the units */
    real others[R(most_lanes)]; /* sum of e of all classes but one largest; NaN where a logit is */
    double tilt[R(most_lanes)], squares[R(most_lanes)];
    double count[LANES], rest[LANES]; /* of wide rows, on the way there */
    int32_t first[R(most_lanes)], ahead[R(most_lanes)];
} R(scans);

/* What a group's rows hand to their classes, per lane. */
typedef struct {
    real factor[R(most_lanes)], offset[R(most_lanes)], top[R(most_lanes)], others[R(most_lanes)], curve[R(most_lanes)],
        bend[R(most_lanes)], at_target[R(most_lanes)];
} R(lane_coefficients);

FL_INLINE R(unit) R(lane_unit)(const R(scans) *s, int64_t l) {
    return (R(unit)){s->base[l], s->k[l], s->magic[l], s->low[l], s->top[l], R(plain_rate)()};
}

FL_INLINE void R(set_unit)(R(scans) *s, int64_t l, real max) {
    R(unit) unit = R(unit_of)(max);
    s->max[l] = max;
    s->base[l] = unit.base, s->k[l] = unit.k, s->magic[l] = unit.magic, s->low[l] = unit.low, s->top[l] = unit.top;
}

/* From the sum of e of all but the largest classes, and how many of those there are. */
FL_INLINE real R(others)(double rest, double count, real top) { return (real)(rest + (count - 1) * (double)top); }

/* What is subtracted from a row's logits to give d: m, or 0 where all are masked. */
FL_INLINE real R(shift_of)(real max) { return max == -REAL_INF ? 0 : max; }

/* m - x, how far a logit is below the largest: as far as e is more than 0, so that their product is a number. */
FL_INLINE real R(below_max)(R(unit) unit, real shift, real x) {
    return (shift - unit.base) - R(max)(unit.low, x - unit.base);
}

FL_INLINE R(summary) R(summarise)(const R(scans) *s, const R(group) *g, const real *picked, const real *dot,
                                  const real *mass, int64_t l) {
    /* By masks: a select would be threaded through what follows and leave no loop to vectorise. */
    const bits_t infinite = (bits_t)0 - (bits_t)(s->max[l] == REAL_INF), others = R(to_bits)(s->others[l]);
    /* All spelled out: what is cleared as one piece stops the vectoriser. */
    return (R(summary)){s->max[l],
                        s->top[l],
                        R(from_bits)((others & ~infinite) | (R(to_bits)(REAL_NAN) & infinite)),
                        (real)s->tilt[l],
                        (real)s->squares[l],
                        picked[l],
                        g->weight[l],
                        dot[l],
                        mass[l],
                        s->others[l],
                        g->scale[l],
                        {0, 0, 0, 0, 0, 0, 0}};
}

/* The rows' losses, and what they hand to their classes: with hands_on 1 for the gradient, with 2 for the Hessian too.
 * `plain`: there is neither a weight nor an upstream gradient, neither smoothing nor z-loss, and all rows count; as
 * constants these leave little to do. */
FL_INLINE void R(finish_as)(const R(scans) *s, const R(group) *g, const real *picked, const real *dot, const real *mass,
                            const R(row_params) *p, R(rowwise_kernel) kernel, int hands_on, int plain, real *value,
                            R(lane_coefficients) *lanes) {
    const double scale = g->scale[0];
    R(row_params) params = *p;
    if (plain)
        params.smoothing = 0, params.keep = 1, params.z_loss = 0, params.simple = 1;
    for (int64_t first = 0; first < g->lanes; first += LANES) {
        FL_SIMD
        for (int i = 0; i < LANES; i++) {
            const int64_t l = first + i;
            R(summary) summary = R(summarise)(s, g, picked, dot, mass, l);
            R(coefficients) k = {0, 0, 0, 0, 0, 0, 0};
            real found;
            if (plain)
                summary.weight = 1, summary.scale = scale;
            found = kernel.finish(&summary, &params, &k);
            value[l] = plain || g->active[l] ? found : 0;
            if (hands_on) {
                lanes->factor[l] = k.factor, lanes->offset[l] = k.offset, lanes->at_target[l] = k.at_target;
            }
            if (hands_on > 1) {
                lanes->others[l] = k.others, lanes->top[l] = k.top, lanes->curve[l] = k.curve, lanes->bend[l] = k.bend;
            }
        }
    }
}

FL_INLINE int R(is_plain)(const fl_rowwise *job, const R(group) *g) {
    return g->blank && job->param[0] == 0 && job->param[1] == 0;
}

FL_INLINE void R(finish_lanes)(const fl_rowwise *job, const R(scans) *s, const R(group) *g, const real *picked,
                               const real *dot, const real *mass, const R(row_params) *p, R(rowwise_kernel) kernel,
                               int hands_on, real *value, R(lane_coefficients) *lanes) {
    if (hands_on < 2 && R(is_plain)(job, g))
        R(finish_as)(s, g, picked, dot, mass, p, kernel, hands_on, 1, value, lanes);
    else
        R(finish_as)(s, g, picked, dot, mass, p, kernel, hands_on, 0, value, lanes);
}

/* What a kernel that scores hands on. */
FL_INLINE void R(put_scores)(const fl_rowwise *job, const R(group) *g, const R(lane_coefficients) *lanes) {
    const real *found[3] = {lanes->offset, lanes->factor, lanes->at_target};
    for (int i = 0; i < 3; i++)
        if (job->score[i])
            memcpy((real *)job->score[i] + (g->first - job->origin), found[i], (size_t)g->rows * sizeof(real));
}
