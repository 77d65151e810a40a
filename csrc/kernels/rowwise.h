/* The mathematics of one row of classes: from what a scan of the row found to the loss, and from a class's logit to its
 * gradient and Hessian. Nothing here knows how rows lie in memory or whether lanes are classes or rows.
 *
 * With m the largest logit, d = x - m, e = e^d and s = sum of e = 1 + others, where `others` leaves one largest class
 * out: log s = log1p(others) keeps a confident row's loss, and 1 - p = (others + (1 - e)) / s a confident class's
 * gradient, where s and p themselves round to 1. */

typedef struct {
    real max;     /* m; -inf: there is no class but masked ones */
    real others;  /* s - 1 */
    real tilt;    /* sum of -d e */
    real picked;  /* the target's logit */
    real weight;  /* the target's class weight */
    real dot, mass; /* sums of the kernel's own dot */
} R(summary);

typedef struct {
    real smoothing, z_loss, unit; /* label smoothing / classes; z; 1 / ln base */
    real keep;                    /* 1 - label smoothing */
    real weight_sum;
} R(row_params);

/* What a row hands to its classes. */
typedef struct {
    real factor, offset, others, inverse, curve;
    real at_target; /* the gradient there, where the general form would cancel */
} R(coefficients);

typedef struct {
    real x, d, e, dense, weight; /* dense: probability target or upstream gradient; weight: of the class */
} R(class_of);

typedef struct {
    real dot, mass;
} R(dots);

FL_INLINE R(dots) R(no_dot)(R(class_of) c, const R(row_params) *p) {
    (void)c, (void)p;
    return (R(dots)){0, 0};
}
FL_INLINE real R(no_hess)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)c, (void)p, (void)k;
    return 0;
}

/* Products in which a factor 0 wins over an infinity: a weight of 0, a probability of 0. */
FL_INLINE real R(times)(real weight, real x) { return weight == 0 ? 0 : weight * x; }

/* lse = m + log s; its gradient is p. A row of masked classes only has lse -inf and gradient 0. */
#define logsumexp_needs (NEEDS_EXP)
#define logsumexp_dot no_dot
#define logsumexp_hess no_hess
FL_INLINE real R(logsumexp_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = s->max == -REAL_INF && s->others == -1 ? 0 : 1 / (1 + s->others);
    return s->max + R(log1p)(s->others);
}
FL_INLINE real R(logsumexp_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * c.e;
}

/* p = e / s */
#define softmax_needs (NEEDS_EXP)
#define softmax_dot no_dot
#define softmax_hess no_hess
FL_INLINE real R(softmax_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = 1 / (1 + s->others);
    return 0;
}
FL_INLINE real R(softmax_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * c.e;
}

/* Upstream gradient g through softmax: p (g - sum of p g). */
#define softmax_vjp_needs (NEEDS_EXP | NEEDS_DOT)
#define softmax_vjp_hess no_hess
FL_INLINE R(dots) R(softmax_vjp_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){R(times)(c.e, c.dense), 0};
}
FL_INLINE real R(softmax_vjp_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = 1 / (1 + s->others);
    k->offset = s->dot * k->factor;
    return 0;
}
FL_INLINE real R(softmax_vjp_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return (k->factor * c.e) * (c.dense - k->offset);
}

/* log p = d - log s */
#define log_softmax_needs (NEEDS_EXP)
#define log_softmax_dot no_dot
#define log_softmax_hess no_hess
FL_INLINE real R(log_softmax_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->offset = R(log1p)(s->others);
    return 0;
}
FL_INLINE real R(log_softmax_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return c.d - k->offset;
}

/* Upstream gradient g through log softmax: g - p sum of g. */
#define log_softmax_vjp_needs (NEEDS_EXP | NEEDS_DOT)
#define log_softmax_vjp_hess no_hess
FL_INLINE R(dots) R(log_softmax_vjp_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){c.dense, 0};
}
FL_INLINE real R(log_softmax_vjp_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->factor = s->dot / (1 + s->others);
    return 0;
}
FL_INLINE real R(log_softmax_vjp_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return c.dense - k->factor * c.e;
}

/* Cross entropy with a class index t, smoothing eps over C classes and class weights w:
 *   l = (1 - eps) w_t (lse - x_t) + eps/C sum_j w_j (lse - x_j) + z lse^2
 *   l'_j = A p_j - eps/C w_j - (1 - eps) w_t [j = t],  A = (1 - eps) w_t + eps/C sum_j w_j + 2 z lse
 *   l''_j = A p_j (1 - p_j) + 2 z p_j^2
 * lse - x = (m - x) + log s adds two numbers >= 0; at the target A p - ... = (A - ...) - A (1 - p). */
#define cross_entropy_needs (NEEDS_EXP | NEEDS_LABEL | MAY_DOT)
FL_INLINE R(dots) R(cross_entropy_dot)(R(class_of) c, const R(row_params) *p) {
    (void)p;
    return (R(dots)){R(times)(c.weight, -c.d), 0};
}
FL_INLINE real R(cross_entropy_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log1p)(s->others), lse = s->max + log_sum;
    real main = p->keep * s->weight, gap = s->max - s->picked;
    real e = R(exp_nonpositive)(-gap);
    real rest = p->smoothing * p->weight_sum + R(times)(2 * p->z_loss, lse), all = main + rest;
    k->inverse = 1 / (1 + s->others);
    k->factor = all * k->inverse;
    k->curve = all;
    k->offset = p->smoothing;
    k->others = s->others;
    k->at_target = (rest - p->smoothing * s->weight) - all * ((s->others + (1 - e)) * k->inverse);
    return R(times)(main, gap + log_sum) + R(times)(p->smoothing, s->dot + p->weight_sum * log_sum) +
           R(times)(p->z_loss, lse * lse);
}
FL_INLINE real R(cross_entropy_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return R(fma)(k->factor, c.e, -(k->offset * c.weight));
}
FL_INLINE real R(cross_entropy_hess)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    real probability = c.e * k->inverse, rest = (k->others + (1 - c.e)) * k->inverse;
    return k->curve * (probability * rest) + 2 * p->z_loss * (probability * probability);
}

/* Cross entropy with probabilities: the same with targets u_j = w_j ((1 - eps) t_j + eps/C) and A = sum_j u_j + 2 z lse:
 *   l = sum_j u_j (lse - x_j) + z lse^2,  l'_j = A p_j - u_j */
#define cross_entropy_dense_needs (NEEDS_EXP | NEEDS_DOT)
#define cross_entropy_dense_hess cross_entropy_hess
FL_INLINE real R(cross_entropy_target)(R(class_of) c, const R(row_params) *p) {
    return c.weight * R(fma)(p->keep, c.dense, p->smoothing);
}
FL_INLINE R(dots) R(cross_entropy_dense_dot)(R(class_of) c, const R(row_params) *p) {
    real target = R(cross_entropy_target)(c, p);
    return (R(dots)){R(times)(target, -c.d), target};
}
FL_INLINE real R(cross_entropy_dense_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log1p)(s->others), lse = s->max + log_sum;
    k->inverse = 1 / (1 + s->others);
    k->curve = s->mass + R(times)(2 * p->z_loss, lse);
    k->factor = k->curve * k->inverse;
    k->others = s->others;
    return (s->dot + s->mass * log_sum) + R(times)(p->z_loss, lse * lse);
}
FL_INLINE real R(cross_entropy_dense_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    return R(fma)(k->factor, c.e, -R(cross_entropy_target)(c, p));
}

/* -w_t x_t, where x are log-probabilities. */
#define nll_loss_needs (NEEDS_LABEL)
#define nll_loss_dot no_dot
#define nll_loss_hess no_hess
FL_INLINE real R(nll_loss_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    (void)p;
    k->at_target = -s->weight;
    return R(times)(s->weight, -s->picked);
}
FL_INLINE real R(nll_loss_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)c, (void)p, (void)k;
    return 0;
}

/* log p_t; its gradient is [j = t] - p_j. */
#define selective_log_softmax_needs (NEEDS_EXP | NEEDS_LABEL)
#define selective_log_softmax_dot no_dot
#define selective_log_softmax_hess no_hess
FL_INLINE real R(selective_log_softmax_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real gap = s->max - s->picked, inverse = 1 / (1 + s->others);
    (void)p;
    k->factor = -inverse;
    k->at_target = (s->others + (1 - R(exp_nonpositive)(-gap))) * inverse;
    return -(gap + R(log1p)(s->others));
}
FL_INLINE real R(selective_log_softmax_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * c.e;
}

/* H = -sum of p log p = log s + (sum of -d e) / s; H'_j = -p_j (log p_j + H) = -p_j (d_j + (sum of -d e) / s). */
#define entropy_needs (NEEDS_EXP | NEEDS_TILT)
#define entropy_dot no_dot
#define entropy_hess no_hess
FL_INLINE real R(entropy_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real inverse = 1 / (1 + s->others);
    k->factor = -p->unit * inverse;
    k->offset = s->tilt * inverse;
    return p->unit * (R(log1p)(s->others) + k->offset);
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
    k->factor = -p->unit;
    return p->unit * s->dot;
}
FL_INLINE real R(entropy_of_probabilities_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return c.x == 0 ? 0 : k->factor * (R(log)(c.x) + 1);
}

/* log p_t, and beside it the row's entropy and lse; ranks are the scan's. */
#define score_needs (NEEDS_EXP | NEEDS_TILT | NEEDS_LABEL | NEEDS_RANK)
#define score_dot no_dot
#define score_hess no_hess
FL_INLINE real R(score_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    real log_sum = R(log1p)(s->others);
    (void)p;
    k->offset = log_sum + s->tilt / (1 + s->others); /* entropy */
    k->curve = s->max + log_sum;                     /* lse */
    return -((s->max - s->picked) + log_sum);
}
#define score_grad no_hess
