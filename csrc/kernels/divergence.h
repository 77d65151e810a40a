/* The mathematics of one class of two rows of logits: divergences of the target's softmax from the input's.
 *
 * p = c.e and q = c.other are the probabilities of a class by the input and by the target, both in the unit of the
 * target's exponentials, and u = c.gap = log q - log p, to its last bits however near both are and however far apart
 * the logits. Where u is small a term is formed from u alone: between p and q the rounding errors of both would be left.
 * A class masked in both rows has p = q = 0, and its u is a NaN. */

/* (e^-u - 1 + u) / u^2 for |u| <= 1 */
#if REAL_BITS == 32
FL_INLINE real R(kl_poly)(real u) { /* 4.3e-9 */
    real y = R(fma)(-2.77228380617e-6f, u, 2.53548405792e-5f);
    y = R(fma)(y, u, -1.98440237159e-4f);
    y = R(fma)(y, u, 1.38854518444e-3f);
    y = R(fma)(y, u, -8.33331027394e-3f);
    y = R(fma)(y, u, 4.16667345449e-2f);
    y = R(fma)(y, u, -1.66666670101e-1f);
    return R(fma)(y, u, 4.99999997927e-1f);
}
#else
FL_INLINE real R(kl_poly)(real u) { /* 1.2e-17 */
    real y = R(fma)(-7.6797227978992701e-13, u, 1.1638485100294154968e-11);
    y = R(fma)(y, u, -1.6059834008916978222e-10);
    y = R(fma)(y, u, 2.0874456820671764279e-9);
    y = R(fma)(y, u, -2.5052090847462146625e-8);
    y = R(fma)(y, u, 2.7557334830307242013e-7);
    y = R(fma)(y, u, -2.7557319351876631484e-6);
    y = R(fma)(y, u, 2.4801587247331569761e-5);
    y = R(fma)(y, u, -1.9841269840858255253e-4);
    y = R(fma)(y, u, 1.3888888888978518561e-3);
    y = R(fma)(y, u, -8.3333333333338783137e-3);
    y = R(fma)(y, u, 4.1666666666666112987e-2);
    y = R(fma)(y, u, -1.666666666666666465e-1);
    return R(fma)(y, u, 5.0000000000000000556e-1);
}
#endif

/* (v tanh v - log cosh v) / u^2 with v = u / 2, from u^2 <= 2.25 */
#if REAL_BITS == 32
FL_INLINE real R(js_poly)(real w) { /* 2.9e-9 */
    real y = R(fma)(9.65778291138e-8f, w, -1.70030793602e-6f);
    y = R(fma)(y, w, 1.88178160072e-5f);
    y = R(fma)(y, w, -1.84156344018e-4f);
    y = R(fma)(y, w, 1.73599884728e-3f);
    y = R(fma)(y, w, -1.56249843252e-2f);
    return R(fma)(y, w, 1.24999999639e-1f);
}
#else
FL_INLINE real R(js_poly)(real w) { /* 2.8e-18 */
    real y = R(fma)(-5.2784899471248882884e-15, w, 1.3512787862786818664e-13);
    y = R(fma)(y, w, -1.9143598861787757521e-12);
    y = R(fma)(y, w, 2.124286648127392323e-11);
    y = R(fma)(y, w, -2.1522321884381051584e-10);
    y = R(fma)(y, w, 2.1239464302500570138e-9);
    y = R(fma)(y, w, -2.082428219714546337e-8);
    y = R(fma)(y, w, 2.0358465944513116445e-7);
    y = R(fma)(y, w, -1.9835524446234164342e-6);
    y = R(fma)(y, w, 1.9221230039299713797e-5);
    y = R(fma)(y, w, -1.844618055355555537e-4);
    y = R(fma)(y, w, 1.7361111111093581602e-3);
    y = R(fma)(y, w, -1.5624999999999939415e-2);
    return R(fma)(y, w, 1.2499999999999999965e-1);
}
#endif

/* Whether `cross`, sum of q log(q / p) as a difference of log-sum-exps, is large enough beside its terms to be exact. */
FL_INLINE int R(is_far)(double cross, double apart) { return cross >= 2 + (apart < 0 ? -apart : apart); }

/* sum of q u = sum of q u - q + p, whose terms q (e^-u - 1 + u) are >= 0; by x_j the gradient is c (p_j - q_j). */
#define kl_div_with_logits_needs (NEEDS_PAIR | NEEDS_CROSS | NEEDS_DOT)
#define kl_div_with_logits_hess no_hess
FL_INLINE R(dots) R(kl_div_with_logits_dot)(R(class_of) c, const R(row_params) *p) {
    real u = c.gap, near = c.other * (u * u) * R(kl_poly)(u), far = R(times)(c.other, u - 1) + c.e;
    (void)p;
    return (R(dots)){R(abs)(u) <= 1 ? near : far, 0};
}
FL_INLINE real R(kl_div_with_logits_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    double inverse = R(inverse)(s), dot = (double)s->dot * inverse;
    k->factor = (real)(s->scale * inverse / p->temperature);
    return (real)(R(is_far)(s->cross, s->apart) ? s->cross : dot);
}
FL_INLINE real R(kl_div_with_logits_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * (c.e - c.other);
}

/* With m = (p + q) / 2, half the sum of p log(p / m) + q log(q / m) = (p + q) (v tanh v - log cosh v), v = u / 2,
 *   = (p + q) (log 2 - log(1 + e^-|u|)) - min(p, q) |u|, numbers >= 0;
 * by x_j the gradient is c/2 p_j (log(p_j / m_j) - sum of p log(p / m)). */
#define js_div_with_logits_needs (NEEDS_PAIR | NEEDS_DOT | GRAD_MASS)
#define js_div_with_logits_hess no_hess
FL_INLINE real R(log_of_middle)(real u) { /* log(p / m) = log 2 - log(1 + e^u) */
    return (LN2 - R(log1p_unit)(R(exp_nonpositive)(-R(abs)(u)))) - R(max)(0, u);
}
FL_INLINE R(dots) R(js_div_with_logits_dot)(R(class_of) c, const R(row_params) *p) {
    real size = R(abs)(c.gap), square = size * size, both = c.e + c.other;
    real log_sum = R(log1p_unit)(R(exp_nonpositive)(-size));
    real near = both * square * R(js_poly)(square);
    real far = R(times)(both, LN2 - log_sum) - R(times)(R(min)(c.e, c.other), size);
    (void)p;
    return (R(dots)){size <= REAL_C(1.5) ? near : far, R(times)(c.e, R(log_of_middle)(c.gap))};
}
FL_INLINE real R(js_div_with_logits_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k) {
    double inverse = R(inverse)(s), half = 0.5 * inverse;
    k->factor = (real)(s->scale * half / p->temperature);
    k->offset = (real)((double)s->mass * inverse);
    return (real)((double)s->dot * half);
}
FL_INLINE real R(js_div_with_logits_grad)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k) {
    (void)p;
    return k->factor * R(times)(c.e, R(log_of_middle)(c.gap) - k->offset);
}
