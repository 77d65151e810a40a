/* The mathematics of one class of two rows of logits: divergences of the target's softmax from the input's.
 *
 * p = c.same and q = c.other are the probabilities of a class by the input and by the target, both in the unit of the
 * target's exponentials (c.e is that of the input in its own), and u = c.gap = log q - log p, to its last bits however
 * near both are and however far apart the logits. Where u is small a term is formed from u alone: between p and q the
 * rounding errors of both would be left. A class masked in both rows has p = q = 0, and its u is a NaN. */

/* (e^-u - 1 + u) / u^2 for -2 <= u <= 1 */
#if REAL_BITS == 32
FL_INLINE real R(kl_poly)(real u) { /* 9.4e-9 */
    real y = R(fma)(4.1963845172e-7f, u, -2.63362795372e-6f);
    y = R(fma)(y, u, 2.4540355265e-5f);
    y = R(fma)(y, u, -0.000198721715785f);
    y = R(fma)(y, u, 0.00138904727615f);
    y = R(fma)(y, u, -0.00833314300107f);
    y = R(fma)(y, u, 0.0416666282834f);
    y = R(fma)(y, u, -0.166666694669f);
    return R(fma)(y, u, 0.500000002083f);
}
#else
FL_INLINE real R(kl_poly)(real u) { /* 8.0e-18 */
    real y = R(fma)(-4.4181062713199569121e-15, u, 4.3425068380699560749e-14);
    y = R(fma)(y, u, -7.6570421104595588357e-13);
    y = R(fma)(y, u, 1.1483818260268666416e-11);
    y = R(fma)(y, u, -1.6057588432966613441e-10);
    y = R(fma)(y, u, 2.0876633088270815707e-9);
    y = R(fma)(y, u, -2.5052132638654859746e-8);
    y = R(fma)(y, u, 2.7557319532431933448e-7);
    y = R(fma)(y, u, -2.7557319048875642e-6);
    y = R(fma)(y, u, 0.000024801587303041163254);
    y = R(fma)(y, u, -0.00019841269841882634514);
    y = R(fma)(y, u, 0.0013888888888881033347);
    y = R(fma)(y, u, -0.0083333333333323863704);
    y = R(fma)(y, u, 0.041666666666666754569);
    y = R(fma)(y, u, -0.16666666666666671011);
    return R(fma)(y, u, 0.49999999999999999879);
}
#endif

/* (v tanh v - log cosh v) / u^2 with v = u / 2, from w = u^2 <= 4 */
#if REAL_BITS == 32
FL_INLINE real R(js_poly)(real w) { /* 8.5e-9 */
    real y = R(fma)(-4.96807464439e-9f, w, 1.28081152306e-7f);
    y = R(fma)(y, w, -1.76454066704e-6f);
    y = R(fma)(y, w, 1.88440481143e-5f);
    y = R(fma)(y, w, -0.00018409589778f);
    y = R(fma)(y, w, 0.00173593277138f);
    y = R(fma)(y, w, -0.015624966322f);
    return R(fma)(y, w, 0.12499999894f);
}
#else
FL_INLINE real R(js_poly)(real w) { /* 2.0e-18 */
    real y = R(fma)(1.1797405773272649442e-18, w, -5.177305261347052453e-17);
    y = R(fma)(y, w, 1.1328782094601480252e-15);
    y = R(fma)(y, w, -1.6987824839516498933e-14);
    y = R(fma)(y, w, 2.0398194189415965474e-13);
    y = R(fma)(y, w, -2.1716430458414477477e-12);
    y = R(fma)(y, w, 2.1891714022766491068e-11);
    y = R(fma)(y, w, -2.1636282299949257569e-10);
    y = R(fma)(y, w, 2.1253581112908062689e-9);
    y = R(fma)(y, w, -2.082551324392327686e-8);
    y = R(fma)(y, w, 2.0358540347491217801e-7);
    y = R(fma)(y, w, -1.9835527466537358669e-6);
    y = R(fma)(y, w, 0.000019221230117397111781);
    y = R(fma)(y, w, -0.00018446180554733973588);
    y = R(fma)(y, w, 0.0017361111111102484924);
    y = R(fma)(y, w, -0.015624999999999964026);
    return R(fma)(y, w, 0.12499999999999999975);
}
#endif

/* Whether the sum of q log(q / p), as a difference of log-sum-exps, is large enough beside its terms to be exact. */
FL_INLINE int R(is_far)(R(pair_summary) s) { return s.cross >= 1 + r64_abs(s.apart); }

/* Of the log-sum-exps there is an error d left in u, the same for all classes. What it adds to a sum is of second order,
 * and is taken off where it is small: for that the kernels find d, as the tie, from the sum of u alone. */
FL_INLINE double R(tied)(double sum, double tie, double excess) {
    const double largest = REAL_BITS == 32 ? 2e-6 : 4e-15;
    double rest = sum - (r64_abs(tie) < largest ? excess : 0);
    return rest < 0 ? 0 : rest;
}

/* sum of q u = sum of q u - q + p, whose terms q (e^-u - 1 + u) are >= 0; by x_j the gradient is c (p_j - q_j).
 * The tie y is the sum of q (e^-u - 1), which is e^-d - 1, and the excess e^-d - 1 + d = y - log(1 + y). */
#define kl_div_with_logits_needs (NEEDS_PAIR | NEEDS_CROSS | NEEDS_DOT)
#define kl_div_with_logits_hess no_hess
FL_INLINE R(dots) R(kl_div_with_logits_dot)(R(class_of) c, const R(row_params) *p) {
    real q = c.other, u = c.gap, counting = q == 0 ? 0 : u;
    real near = q * (u * u) * R(kl_poly)(u), far = R(fma)(q, counting - 1, c.same);
    real term = R(abs)(u + REAL_C(0.5)) <= REAL_C(1.5) ? near : far;
    (void)p;
    return (R(dots)){term, 0, R(fma)(-q, counting, term)};
}
FL_INLINE real R(kl_div_with_logits_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    const R(pair_summary) pair = s->pair;
    double y = pair.tie, sum = R(tied)(pair.dot, y, y * y * (0.5 - y * (1.0 / 3))), slope = s->scale / p->temperature;
    k->factor = (real)(slope * pair.inverse);
    k->offset = (real)(slope * pair.other_inverse);
    return (real)(R(is_far)(pair) ? pair.cross : sum);
}
FL_INLINE real R(kl_div_with_logits_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return R(fma)(k->factor, c.e, -(k->offset * c.other));
}

/* With m = (p + q) / 2, half the sum of p log(p / m) + q log(q / m) = (p + q) (v tanh v - log cosh v), v = u / 2,
 *   = (p + q) (log 2 - log(1 + e^-|u|)) - min(p, q) |u|, numbers >= 0;
 * by x_j the gradient is c/2 p_j (log(p_j / m_j) - sum of p log(p / m)).
 * The tie is the sum of q - p = (p + q) tanh v, where u is small (p + q) v (1 - v^2 / 3): that is d, the excess d^2 / 4. */
#define js_div_with_logits_needs (NEEDS_PAIR | NEEDS_DOT | GRAD_MASS)
#define js_div_with_logits_hess no_hess
FL_INLINE real R(log_of_middle)(real u) { /* log(p / m) = log 2 - log(1 + e^u) */
    return (LN2 - R(log1p_unit)(R(exp_nonpositive)(-R(abs)(u)))) - R(max)(0, u);
}
FL_INLINE R(dots) R(js_div_with_logits_dot)(R(class_of) c, const R(row_params) *p) {
    real size = R(abs)(c.gap), square = size * size, both = c.same + c.other;
    real log_sum = R(log1p_unit)(R(exp_nonpositive)(-size));
    real near = both * square * R(js_poly)(square);
    real far = R(times)(both, LN2 - log_sum) - R(times)(R(min)(c.same, c.other), size);
    real tie = (REAL_C(0.5) * both * c.gap) * R(fma)(square, REAL_C(-0.083333333333333333), 1);
    (void)p;
    return (R(dots)){size <= 2 ? near : far, R(times)(c.same, R(log_of_middle)(c.gap)),
                     size <= 2 ? tie : c.other - c.same};
}
FL_INLINE real R(js_div_with_logits_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    const R(pair_summary) pair = s->pair;
    k->factor = (real)(s->scale * 0.5 * pair.inverse / p->temperature);
    k->offset = (real)pair.mass;
    return (real)(0.5 * R(tied)(pair.dot, pair.tie, 0.25 * pair.tie * pair.tie));
}
FL_INLINE real R(js_div_with_logits_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * R(times)(c.e, R(log_of_middle)(c.gap) - k->offset);
}
