/* Losses of one prediction x with two outcomes t: labels 0 and 1 (or probabilities of 1), or signs -1 and +1. */

/* -(t log x + (1 - t) log(1 - x)) with the logarithms no less than -100, and slopes as torch keeps them finite. One of the
 * logarithms is of m = min(x, 1 - x), which is exact, the other of 1 - m. */
FL_INLINE R(terms) R(binary_cross_entropy)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, not_x = 1 - x, not_t = 1 - t, least = x < REAL_C(0.5) ? x : not_x;
    real large = R(min)(100, -R(log_finite)(least)), small = R(log1p_half)(least);
    real yes = x < REAL_C(0.5) ? large : small, no = x < REAL_C(0.5) ? small : large;
    real up = 1 / R(max)(REAL_C(1e-12), x), down = 1 / R(max)(REAL_C(1e-12), not_x);
    (void)param;
    return (R(terms)){R(fma)(t, yes, not_t * no),
                      (x - t) / R(max)(REAL_C(1e-12), not_x * x),
                      0,
                      0,
                      R(fma)(t * up, up, not_t * down * down),
                      (least < 0) | (R(min)(t, not_t) < 0)};
}

/* l = (1 - t) softplus(x) + t softplus(-x), where softplus(x) = max(x, 0) + log(1 + e^-|x|): with f = 1 - t for x >= 0 and
 * t elsewhere, l = f |x| + log(1 + e^-|x|), a sum of numbers >= 0 that overflows nowhere. A factor f of 0 wins over an
 * infinite logit, which then agrees with its target.
 * s(x) = 1 / (1 + e^-x) is formed from e^-|x| on either side, so that neither s nor 1 - s cancels:
 * l' = (1 - t) s(x) - t s(-x) = +-s(|x|) (f - (1 - f) e^-|x|), l'' = s(x) s(-x). */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits)(R(operands) o, const real *param) {
    real x = o.a, size = R(abs)(x), e = R(exp_nonpositive)(-size), near = 1 / (1 + e);
    real away = x < 0 ? o.b : 1 - o.b, toward = x < 0 ? 1 - o.b : o.b;
    real slope = near * R(fma)(-toward, e, away);
    (void)param;
    return (R(terms)){R(times)(away, size) + R(log1p_unit)(e), x < 0 ? -slope : slope, 0, 0, near * (near * e), 0};
}

/* The same with t softplus(-x) times p, the weight of the positive class. */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits_pos_weight)(R(operands) o, const real *param) {
    real x = o.a, size = R(abs)(x), e = R(exp_nonpositive)(-size), near = 1 / (1 + e);
    real positive = o.b * o.c, negative = 1 - o.b, both = negative + positive;
    real away = x < 0 ? positive : negative, toward = x < 0 ? negative : positive;
    real slope = near * R(fma)(-toward, e, away);
    (void)param;
    return (R(terms)){R(fma)(both, R(log1p_unit)(e), R(times)(away, size)),
                      x < 0 ? -slope : slope,
                      0,
                      0,
                      both * (near * (near * e)),
                      0};
}

/* What of sigmoid_focal_loss does not depend on gamma: with `away` f as above, w = (1 - t) s(x) + t s(-x) is
 * s(|x|) (f + (1 - f) e^-|x|), w' = w slope, w'' = w slope bend, and `cross` is the cross entropy. */
typedef struct {
    real size, e, near, away, mixed, slope, bend, factor;
    R(terms) cross;
} R(focal);

FL_INLINE R(focal) R(focal_of)(R(operands) o, const real *param) {
    real x = o.a, size = R(abs)(x), e = R(exp_nonpositive)(-size), near = 1 / (1 + e);
    real away = x < 0 ? o.b : 1 - o.b, toward = x < 0 ? 1 - o.b : o.b, mixed = R(fma)(toward, e, away);
    real slope = (1 - 2 * o.b) * near * (away == 0 ? 1 : e / mixed), bend = near * (x < 0 ? 1 - e : e - 1);
    real factor = R(fma)(o.b, param[0], (1 - o.b) * param[1]);
    return (R(focal)){size, e, near, away, mixed, slope, bend, factor, R(binary_cross_entropy_with_logits)(o, param)};
}

/* From w^gamma; the slope, which an infinite logit makes 0, wins over the cross entropy, which it makes infinite. */
FL_INLINE R(terms) R(focal_terms)(R(focal) focal, real power, real gamma) {
    real cross = focal.cross.value, slope = focal.cross.grad_a, factor = focal.factor * power;
    real rise = R(times)(gamma * focal.slope, cross);
    real hess = R(fma)(2 * gamma * focal.slope, slope, focal.cross.hess);
    hess = R(fma)(rise, R(fma)(gamma - 1, focal.slope, focal.bend), hess);
    return (R(terms)){R(times)(factor, cross), factor * (rise + slope), 0, 0, factor * hess, 0};
}

/* a w^gamma times the cross entropy, with a = alpha t + (1 - alpha)(1 - t). w underflows long before a small power of it:
 * its logarithm is taken. param: alpha, 1 - alpha, gamma in two parts */
FL_INLINE R(terms) R(sigmoid_focal_loss)(R(operands) o, const real *param) {
    R(focal) focal = R(focal_of)(o, param);
    R(pair) gamma = {param[2], param[3]}, log_w = R(log_finite_pair)(focal.away == 0 ? 1 : focal.mixed);
    real tail = R(log1p_unit)(focal.e), high;
    log_w.high = focal.away == 0 ? -R(min)(REAL_C(1e30), focal.size) : log_w.high;
    high = log_w.high - tail;
    log_w.low += (log_w.high - high) - tail;
    log_w.high = high;
    return R(focal_terms)(focal, R(exp_nonpositive_pair)(R(pair_product)(gamma, log_w)), gamma.high);
}

/* The same for gamma = 2. */
FL_INLINE R(terms) R(sigmoid_focal_loss_gamma_2)(R(operands) o, const real *param) {
    R(focal) focal = R(focal_of)(o, param);
    real w = focal.near * focal.mixed;
    return R(focal_terms)(focal, w * w, 2);
}

/* log(1 + e^-z) with z = t x: |z| for z < 0, and log(1 + e^-|z|) */
FL_INLINE R(terms) R(soft_margin_loss)(R(operands) o, const real *param) {
    real t = o.b;
    R(pair) z = R(product)(t, o.a);
    int wrong = z.high < 0;
    real size = R(abs)(z.high), e = R(exp_nonpositive_pair)((R(pair)){-size, wrong ? z.low : -z.low}),
         near = 1 / (1 + e);
    (void)param;
    return (R(terms)){
        (wrong ? size : 0) + R(log1p_unit)(e), -t * (wrong ? near : near * e), 0, 0, (t * near) * (t * (near * e)), 0};
}

/* e^(-t x) */
FL_INLINE R(terms) R(exponential_loss)(R(operands) o, const real *param) {
    real t = o.b, e = R(exp_pair)(R(product)(-t, o.a));
    (void)param;
    return (R(terms)){e, -t * e, 0, 0, t * (t * e), 0};
}

/* max(0, 1 - t x) */
FL_INLINE R(terms) R(hinge_loss)(R(operands) o, const real *param) {
    real t = o.b, margin = R(fma)(-t, o.a, 1);
    (void)param;
    return (R(terms)){margin < 0 ? 0 : margin, R(with_nan)(margin, margin > 0 ? -t : 0), 0, 0, 0, 0};
}

/* max(0, 1 - t x)^2 */
FL_INLINE R(terms) R(squared_hinge_loss)(R(operands) o, const real *param) {
    real t = o.b, margin = R(fma)(-t, o.a, 1), short_by = margin < 0 ? 0 : margin;
    (void)param;
    return (R(terms)){short_by * short_by, -2 * t * short_by, 0, 0, short_by > 0 ? 2 * t * t : 0, 0};
}

/* x where t is not -1, and max(0, margin - x) where t is not 1; param: margin */
FL_INLINE R(terms) R(hinge_embedding_loss)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, margin = param[0] - x;
    real value = (t != -1 ? x : 0) + (t != 1 && margin > 0 ? margin : 0);
    real slope = (real)(t != -1) - (real)(t != 1 && margin >= 0);
    return (R(terms)){value, slope, 0, 0, 0, 0};
}

/* max(0, margin - t (x1 - x2)), by x1 and x2; param: margin */
FL_INLINE R(terms) R(margin_ranking_loss)(R(operands) o, const real *param) {
    real t = o.c, margin = R(fma)(-t, o.a - o.b, param[0]);
    real slope = R(with_nan)(margin, margin >= 0 ? t : 0);
    return (R(terms)){margin < 0 ? 0 : margin, -slope, slope, 0, 0, 0};
}
