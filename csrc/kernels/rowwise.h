/* The mathematics of one row of classes: from what a scan of the row found to the loss, and from a class's logit to its
 * gradient and Hessian. Nothing here knows how rows lie in memory or whether lanes are classes or rows.
 *
 * With m the largest logit, d = x - m, e = e^x in the row's unit (real.h), `top` that of a largest class and s the sum of
 * e = top + others, where `others` leaves one largest class out: lse = m + log1p(others / top) keeps a confident row's
 * loss, and 1 - p = (others + (top - e)) / s a confident class's gradient, where s and p themselves round to 1. */

/* Of a pair of rows (divergence.h): 1 / s of each; the sum of q log(q / p) as a difference, and by how much the target's
 * log-sum-exp is above the input's; the sums of the kernel's own dot, in probabilities. */
typedef struct {
    double inverse, other_inverse, cross, apart, dot, mass, tie;
} R(pair_summary);

typedef struct {
    real max;         /* m; -inf: there is no class but masked ones */
    real top, others; /* s = top + others */
    real tilt;        /* sum of (m - x) e */
    real squares;     /* sum of e^2 of all but one largest class */
    real picked;      /* the target's logit */
    real weight;      /* the target's class weight */
    real dot, mass;   /* sums of the kernel's own dot */
    real rest;        /* as others, but where the largest is infinite: NaN only where a class is */
    double scale;     /* factor of the row's derivatives */
    R(pair_summary) pair;
} R(summary);

typedef struct {
    real smoothing, z_loss, unit; /* label smoothing / classes; z; 1 / ln base */
    real keep;                    /* 1 - label smoothing */
    int simple;                   /* neither label smoothing nor z-loss */
    real weight_sum;
    double gamma, temperature;
    R(rate) rate;      /* 1 / temperature */
    double rate_error; /* what that is of the exact one */
} R(row_params);

/* What a row hands to its classes: formed in float64 with the scale in them, and rounded once. */
typedef struct {
    real factor, offset, top, others, curve, bend;
    real at_target; /* the gradient there, where the general form would cancel */
} R(coefficients);

typedef struct {
    real x, d, e, dense, weight; /* dense: probability target or upstream gradient; weight: of the class */
    real other, same, gap;       /* of a pair of rows: see divergence.h */
} R(class_of);

typedef struct {
    real dot, mass, tie;
} R(dots);

FL_INLINE R(dots) R(no_dot)(R(class_of) c, const R(row_params) *p) {
    (void)c, (void)p;
    return (R(dots)){0, 0};
}
FL_INLINE real R(no_hess)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)c, (void)p, (void)k;
    return 0;
}

/* 1 / s */
FL_INLINE R(pair) R(inverse)(const R(summary) *s) {
    const R(pair) sum = R(sum)(s->top, s->others);
    const real guess = 1 / sum.high;
    return (R(pair)){guess, -guess * R(fma)(sum.low, guess, R(product_rest)(sum.high, guess, 1))};
}

/* 1 - p of a class with this e, without cancellation: only a largest class has p > 1/2. */
FL_INLINE double R(missing)(const R(summary) *s, double e) {
    const double inverse = R(whole)(R(inverse)(s)), others = (double)s->others + ((double)s->top - e);
    const int lesser = e < (double)s->top;
    return lesser ? 1 - e * inverse : others * inverse;
}

/* The same, and its product with a factor of the row, rounded to `real` on the way. */
FL_INLINE real R(missing_share)(const R(summary) *s, R(pair) inverse, real e, R(pair) factor) {
    const int lesser = e < s->top;
    const real missing = lesser ? 1 - R(scaled)(inverse, e) : R(scaled)(inverse, s->others);
    return R(scaled)(factor, missing);
}

/* log (s / top) */
FL_INLINE real R(log_sum)(const R(summary) *s) { return R(log1p)(s->others / s->top); }

/* lse = m + log (s / top); its gradient is p. A row of masked classes only has lse -inf and gradient 0. */
#define logsumexp_needs (NEEDS_EXP | FROM_EXP)
#define logsumexp_dot no_dot
#define logsumexp_hess no_hess
FL_INLINE real R(logsumexp_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    int empty = (s->max == -REAL_INF) & (s->others == -s->top);
    (void)p;
    k->factor = empty ? 0 : R(short_product)(R(split)(s->scale), R(inverse)(s));
    return (s->max == REAL_INF) & (s->rest == s->rest) ? REAL_INF : s->max + R(log_sum)(s);
}
FL_INLINE real R(logsumexp_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * c.e;
}

/* p = e / s */
#define softmax_needs (NEEDS_EXP | FROM_EXP)
#define softmax_dot no_dot
#define softmax_hess no_hess
#define softmax_grad logsumexp_grad
FL_INLINE real R(softmax_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = R(short_product)(R(split)(s->scale), R(inverse)(s));
    return 0;
}

/* Upstream gradient g through softmax: p (g - sum of p g). */
#define softmax_vjp_needs (NEEDS_EXP | NEEDS_DOT | FROM_EXP)
#define softmax_vjp_hess no_hess
FL_INLINE R(dots) R(softmax_vjp_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){R(times)(c.e, c.dense), 0};
}
FL_INLINE real R(softmax_vjp_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = R(short_product)(R(split)(s->scale), R(inverse)(s));
    k->offset = R(scaled)(R(inverse)(s), s->dot);
    return 0;
}
FL_INLINE real R(softmax_vjp_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return (k->factor * c.e) * (c.dense - k->offset);
}

/* log p = d - log (s / top) */
#define log_softmax_needs (NEEDS_EXP)
#define log_softmax_dot no_dot
#define log_softmax_hess no_hess
FL_INLINE real R(log_softmax_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->offset = R(log_sum)(s);
    return 0;
}
FL_INLINE real R(log_softmax_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return c.d - k->offset;
}

/* Upstream gradient g through log softmax: g - p sum of g. */
#define log_softmax_vjp_needs (NEEDS_EXP | NEEDS_DOT | FROM_EXP)
#define log_softmax_vjp_hess no_hess
FL_INLINE R(dots) R(log_softmax_vjp_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){c.dense, 0};
}
FL_INLINE real R(log_softmax_vjp_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = R(scaled)(R(inverse)(s), s->dot);
    return 0;
}
FL_INLINE real R(log_softmax_vjp_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return R(fma)(-k->factor, c.e, c.dense);
}

/* The curvature A p (1 - p) + 2 z p^2 of both cross entropies, as e ((others + (top - e)) A / s^2 + e 2 z / s^2). */
FL_INLINE void R(set_curve)(const R(summary) *s, const R(row_params) *p, double all, R(coefficients) *k) {
    double inverse = R(whole)(R(inverse)(s)), per_square = s->scale * inverse * inverse;
    k->top = s->top;
    k->others = s->others;
    k->curve = (real)(all * per_square);
    k->bend = (real)(2 * (double)p->z_loss * per_square);
}
FL_INLINE real R(cross_entropy_hess)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return c.e * R(fma)(c.e, k->bend, (k->others + (k->top - c.e)) * k->curve);
}

/* Cross entropy with a class index t, smoothing eps over C classes and class weights w:
 *   l = (1 - eps) w_t (lse - x_t) + eps/C sum_j w_j (lse - x_j) + z lse^2
 *   l'_j = A p_j - eps/C w_j - (1 - eps) w_t [j = t],  A = (1 - eps) w_t + eps/C sum_j w_j + 2 z lse
 *   l''_j = A p_j (1 - p_j) + 2 z p_j^2
 * lse - x = (m - x) + log (s / top) adds two numbers >= 0; at the target A p - ... = (A - ...) - A (1 - p). */
#define cross_entropy_needs (NEEDS_EXP | NEEDS_LABEL | MAY_DOT | FROM_EXP | IN_PIECES)
FL_INLINE R(dots) R(cross_entropy_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){R(times)(c.weight, -c.d), c.weight};
}
FL_INLINE real R(cross_entropy_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log_sum)(s), lse = s->max + log_sum, main = p->keep * s->weight, gap = s->max - s->picked;
    double from_z = r64_times(2 * (double)p->z_loss, (double)lse), smoothing = (double)p->smoothing;
    double rest = smoothing * (double)p->weight_sum + from_z, all = (double)p->keep * (double)s->weight + rest;
    real e = s->top * R(exp_nonpositive)(-gap);
    R(set_curve)(s, p, all, k);
    if (p->simple) { /* A = w, and nothing cancels */
        const R(pair) factor = R(split)(s->scale * (double)s->weight), inverse = R(inverse)(s);
        k->factor = R(short_product)(factor, inverse);
        k->offset = 0;
        k->at_target = -R(missing_share)(s, inverse, e, factor);
        return R(weigh)(main, gap + log_sum);
    }
    k->factor = (real)(s->scale * all * R(whole)(R(inverse)(s)));
    k->offset = (real)(s->scale * smoothing);
    k->at_target = (real)(s->scale * ((rest - smoothing * (double)s->weight) - all * R(missing)(s, (double)e)));
    return R(weigh)(main, gap + log_sum) + R(times)(p->smoothing, s->dot + p->weight_sum * log_sum) +
           R(times)(p->z_loss, lse * lse);
}
FL_INLINE real R(cross_entropy_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return R(fma)(k->factor, c.e, -(k->offset * c.weight));
}

/* Cross entropy with probabilities: the same with targets u_j = w_j ((1 - eps) t_j + eps/C) and A = sum_j u_j + 2 z lse:
 *   l = sum_j u_j (lse - x_j) + z lse^2,  l'_j = A p_j - u_j */
#define cross_entropy_dense_needs (NEEDS_EXP | NEEDS_DOT | FROM_EXP)
#define cross_entropy_dense_hess cross_entropy_hess
FL_INLINE real R(cross_entropy_target)(R(class_of) c, const R(row_params) *p) {
    return c.weight * R(fma)(p->keep, c.dense, p->smoothing);
}
FL_INLINE R(dots) R(cross_entropy_dense_dot)(R(class_of) c, const R(row_params) *p) {
    real target = R(cross_entropy_target)(c, p);
    return (R(dots)){R(times)(target, -c.d), target};
}
FL_INLINE real R(cross_entropy_dense_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log_sum)(s), lse = s->max + log_sum;
    double all = (double)s->mass + r64_times(2 * (double)p->z_loss, (double)lse);
    k->factor = (real)(s->scale * all * R(whole)(R(inverse)(s)));
    k->offset = (real)s->scale;
    R(set_curve)(s, p, all, k);
    return (s->dot + s->mass * log_sum) + R(times)(p->z_loss, lse * lse);
}
FL_INLINE real R(cross_entropy_dense_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    return R(fma)(k->factor, c.e, -(k->offset * R(cross_entropy_target)(c, p)));
}

/* With L = -log p_t and m = 1 - p_t,
 *   l = w_t m^g L,  l'_j = A (p_j - [j = t]),  A = dl/dL = w_t m^g (1 + g p_t L / m), where L / m is 1 at m = 0. */
#define focal_loss_needs (NEEDS_EXP | NEEDS_LABEL | FROM_EXP)
#define focal_loss_dot no_dot
#define focal_loss_hess no_hess
#define focal_loss_grad logsumexp_grad
FL_INLINE real R(focal_loss_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real gap = s->max - s->picked, nll = gap + R(log_sum)(s);
    double e = (double)s->top * (double)R(exp_nonpositive)(-gap), hit = e * R(whole)(R(inverse)(s));
    double missing = R(missing)(s, e), ratio = missing == 0 ? 1 : r64_times(hit, (double)nll / missing);
    double power = r64_exp_nonpositive(r64_times(p->gamma, r64_log(missing)));
    double all = (double)s->weight * power, slope = s->scale * all * (1 + p->gamma * ratio);
    k->factor = (real)(slope * R(whole)(R(inverse)(s)));
    k->at_target = (real)(-slope * missing);
    return (real)r64_weigh(all, (double)nll);
}

/* -w_t x_t, where x are log-probabilities. */
#define nll_loss_needs (NEEDS_LABEL)
#define nll_loss_dot no_dot
#define nll_loss_hess no_hess
FL_INLINE real R(nll_loss_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->at_target = (real)(-s->scale * (double)s->weight);
    return R(weigh)(s->weight, -s->picked);
}
FL_INLINE real R(nll_loss_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)c, (void)p, (void)k;
    return 0;
}

/* log p_t; its gradient is [j = t] - p_j. */
#define selective_log_softmax_needs (NEEDS_EXP | NEEDS_LABEL | FROM_EXP)
#define selective_log_softmax_dot no_dot
#define selective_log_softmax_hess no_hess
#define selective_log_softmax_grad logsumexp_grad
FL_INLINE real R(selective_log_softmax_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real gap = s->max - s->picked;
    const R(pair) factor = R(split)(s->scale), inverse = R(inverse)(s);
    (void)p;
    k->factor = -R(short_product)(factor, inverse);
    k->at_target = R(missing_share)(s, inverse, s->top * R(exp_nonpositive)(-gap), factor);
    return -(gap + R(log_sum)(s));
}
/* H = -sum of p log p = log (s / top) + (sum of -d e) / s; H'_j = -p_j (log p_j + H) = -p_j (d_j + (sum of -d e) / s). */
#define entropy_needs (NEEDS_EXP | NEEDS_TILT)
#define entropy_dot no_dot
#define entropy_hess no_hess
FL_INLINE real R(entropy_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    k->factor = -R(short_product)(R(split)(s->scale * (double)p->unit), R(inverse)(s));
    k->offset = R(scaled)(R(inverse)(s), s->tilt);
    return p->unit * (R(log_sum)(s) + k->offset);
}
FL_INLINE real R(entropy_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * R(times)(c.e, c.d + k->offset);
}

/* H = -sum of x log x from probabilities, where 0 log 0 = 0; H'_j = -(log x_j + 1), and 0 where x_j is 0: no step from
 * there has a finite slope, and a class that cannot occur should not move. */
#define entropy_of_probabilities_needs (NEEDS_DOT)
#define entropy_of_probabilities_hess no_hess
FL_INLINE R(dots) R(entropy_of_probabilities_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){R(times)(c.x, -R(log)(c.x)), 0};
}
FL_INLINE real R(entropy_of_probabilities_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    k->factor = (real)(-s->scale * (double)p->unit);
    return p->unit * s->dot;
}
FL_INLINE real R(entropy_of_probabilities_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return c.x == 0 ? 0 : k->factor * (R(log)(c.x) + 1);
}

/* log p_t, and beside it the row's entropy and lse; ranks and the first largest class are the scan's. */
#define score_needs (NEEDS_EXP | NEEDS_TILT | NEEDS_LABEL | NEEDS_RANK | NEEDS_FIRST)
#define score_dot no_dot
#define score_hess no_hess
FL_INLINE real R(score_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log_sum)(s);
    (void)p;
    k->offset = log_sum + R(scaled)(R(inverse)(s), s->tilt); /* entropy */
    k->factor = s->max + log_sum;                            /* lse */
    return -((s->max - s->picked) + log_sum);
}
#define score_grad no_hess

/* -log p_t, and beside it the row's entropy and confidence, which is the largest probability. */
#define score_outcome_needs (NEEDS_EXP | NEEDS_TILT | NEEDS_LABEL | NEEDS_RANK)
#define score_outcome_dot no_dot
#define score_outcome_hess no_hess
#define score_outcome_grad no_hess
FL_INLINE real R(score_outcome_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log_sum)(s), inverse = 1 / (s->top + s->others);
    (void)p;
    k->offset = log_sum + s->tilt * inverse;
    k->factor = s->top * inverse;
    return (s->max - s->picked) + log_sum;
}

/* And the Brier score, (1 - p_t)^2 + the sum of all other p^2. */
#define score_outcome_brier_needs (score_outcome_needs | NEEDS_SQUARES)
#define score_outcome_brier_dot no_dot
#define score_outcome_brier_hess no_hess
#define score_outcome_brier_grad no_hess
FL_INLINE real R(score_outcome_brier_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    double top = (double)s->top, e = top * (double)R(exp_nonpositive)(s->picked - s->max);
    double missing = R(missing)(s, e), inverse = R(whole)(R(inverse)(s));
    k->at_target = (real)(((double)s->squares + (top * top - e * e)) * (inverse * inverse) + missing * missing);
    return R(score_outcome_finish)(s, p, k);
}
