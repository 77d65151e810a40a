/* Losses of one prediction x with two outcomes: t is 0 or 1, or the probability of 1. */

/* -(t log x + (1 - t) log(1 - x)) with the logarithms no less than -100, and slopes as torch keeps them finite. 1 - x goes
 * with what it lost, so that the logarithm does not vanish with a small x. `yes` and `no` are minus these. */
FL_INLINE real R(minus_log_at_most_100)(real x, real more) { return R(min)(100, R(minus_log_unit)(x, more)); }

FL_INLINE R(terms) R(binary_cross_entropy_from)(real x, real t, real value, real inside) {
    real not_x = 1 - x, not_t = 1 - t;
    real up = 1 / R(max)(REAL_C(1e-12), x), down = 1 / R(max)(REAL_C(1e-12), not_x);
    real slope = (x - t) / R(max)(REAL_C(1e-12), not_x * x);
    return (R(terms)){value, slope, 0, 0, R(fma)(t * up, up, not_t * down * down), inside};
}

FL_INLINE R(terms) R(binary_cross_entropy)(R(operands) o, const real *param) {
    real x = o.a + 0 /* which makes -0 of it 0 */, t = o.b, not_x = 1 - x, not_t = 1 - t;
    real yes = R(minus_log_at_most_100)(x, x - x), no = R(minus_log_at_most_100)(not_x, (1 - not_x) - x);
    (void)param;
    return R(binary_cross_entropy_from)(x, t, R(fma)(t, yes, not_t * no), R(min)(R(min)(t, not_t), R(min)(x, not_x)));
}

/* The same where t is 0 or 1, of one logarithm. It refuses -0 too, as x. */
FL_INLINE R(terms) R(binary_cross_entropy_hard)(R(operands) o, const real *param) {
    real x = o.a, t = o.b, not_x = 1 - x;
    real chosen = t == 1 ? x : not_x, whole = t == 1 ? x : 1 - not_x;
    bits_t odd = t == 1 ? 0 : (bits_t)0 - R(to_bits)(t), signs = R(to_bits)(x) | R(to_bits)(not_x) | R(to_bits)(t);
    (void)param;
    return R(binary_cross_entropy_from)(x, t, R(minus_log_at_most_100)(chosen, whole - x), R(from_bits)(signs | odd));
}

/* l = (1 - t) softplus(x) + t softplus(-x), where softplus(x) = max(x, 0) + log(1 + e^-|x|): with f = 1 - t for x >= 0 and
 * t elsewhere, l = f |x| + log(1 + e^-|x|), a sum of numbers >= 0 that overflows nowhere. A factor f of 0 wins over an
 * infinite logit, which then agrees with its target.
 * s(x) = 1 / (1 + e^-x) is formed from e^-|x| on either side, so that neither s nor 1 - s cancels:
 * l' = (1 - t) s(x) - t s(-x) = +-s(|x|) (f - (1 - f) e^-|x|), l'' = s(x) s(-x). */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits)(R(operands) o, const real *param) {
    real x = o.a, size = R(abs)(x), e = R(exp_nonpositive)(-size), near = 1 / (1 + e);
    real away = x < 0 ? o.b : 1 - o.b, toward = x < 0 ? 1 - o.b : o.b;
    real slope = near * (x < 0 ? R(fma)(toward, e, -away) : R(fma)(-toward, e, away)), rest = R(log1p_unit_brief)(e);
    (void)param;
    return (R(terms)){away == 0 ? rest : R(fma)(away, size, rest), slope, 0, 0, near * (near * e), 0};
}

/* The same with t softplus(-x) times p, the weight of the positive class. */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits_pos_weight)(R(operands) o, const real *param) {
    real x = o.a, size = R(abs)(x), e = R(exp_nonpositive)(-size), near = 1 / (1 + e);
    real positive = o.b * o.c, negative = 1 - o.b, both = negative + positive;
    real away = x < 0 ? positive : negative, toward = x < 0 ? negative : positive;
    real slope = near * (x < 0 ? R(fma)(toward, e, -away) : R(fma)(-toward, e, away));
    (void)param;
    return (R(terms)){R(fma)(both, R(log1p_unit)(e), R(times)(away, size)), slope, 0, 0, both * (near * (near * e)), 0};
}

/* What of sigmoid_focal_loss does not depend on gamma. With `away` f as above, w = (1 - t) s(x) + t s(-x) is
 * s(|x|) (f + (1 - f) e^-|x|), in two parts since its powers multiply its error; w' = w rate, w'' = w' bend; the cross
 * entropy and its derivatives; a = alpha t + (1 - alpha)(1 - t). */
typedef struct {
    R(pair) e, w;
    real size, near, away, mixed, rest, rate, bend, cross, slope, curve, a;
} R(focal);

FL_INLINE R(focal) R(focal_of)(R(operands) o, const real *param) {
    R(focal) y;
    real x = o.a, t = o.b, toward = x < 0 ? 1 - t : t, e, sum, low;
    int sure = (x < 0 ? t : 1 - t) == 0;
    y.away = x < 0 ? t : 1 - t;
    y.size = R(abs)(x);
    y.e = R(exp_nonpositive_in_two)(-y.size);
    e = y.e.high, sum = 1 + e;
    y.near = 1 / sum;
    low = R(fma)(y.near, (e - (sum - 1)) + y.e.low, R(product_rest)(y.near, sum, 1)) * -y.near;
    y.mixed = R(fma)(toward, e, y.away);
    y.w = R(product)(y.near, y.mixed);
    y.w.low += R(fma)(y.near, toward * y.e.low, low * y.mixed);
    y.near += low;
    y.rest = R(fma)(y.e.low, y.near, R(log1p_unit_rest)(e));
    y.cross = y.away == 0 ? e + y.rest : R(fma)(y.away, y.size, e + y.rest);
    y.slope = sure ? y.w.high + y.w.low : y.near * R(fma)(toward, e, -y.away);
    y.slope = x < 0 ? y.slope : -y.slope;
    y.curve = y.near * (y.near * e);
    y.rate = (1 - 2 * t) * y.near * (sure ? 1 : e / y.mixed);
    y.bend = y.near * (x < 0 ? 1 - e : e - 1);
    y.a = R(fma)(t, param[0], (1 - t) * param[1]);
    return y;
}

/* From w^gamma. The cross entropy is finite where a rate of 0, which an infinite logit makes, has to win over it. */
FL_INLINE R(terms) R(focal_terms)(R(focal) focal, real power, real gamma) {
    R(pair) weight = R(product)(focal.a, power);
    real rate = gamma * focal.rate, cross = R(min)(REAL_C(1e30), focal.cross);
    real slope = R(fma)(rate, cross, focal.slope), hess = R(fma)(2 * rate, focal.slope, focal.curve);
    hess = R(fma)(rate * cross, R(fma)(gamma - 1, focal.rate, focal.bend), hess);
    return (R(terms)){R(fma)(weight.low, cross, R(times)(weight.high, focal.cross)),
                      R(fma)(weight.high, slope, weight.low * slope),
                      0,
                      0,
                      weight.high * hess,
                      0};
}

/* a w^gamma times the cross entropy. w underflows long before a small power of it: its logarithm is taken, of
 * f + (1 - f) e^-|x| less that of 1 + e^-|x|. param: alpha, 1 - alpha, gamma in two parts */
FL_INLINE R(terms) R(sigmoid_focal_loss)(R(operands) o, const real *param) {
    R(focal) focal = R(focal_of)(o, param);
    R(pair) gamma = {param[2], param[3]}, log_w = R(log_finite_pair)(focal.away == 0 ? 1 : focal.mixed), sum;
    log_w.high = focal.away == 0 ? -R(min)(REAL_C(1e30), focal.size) : log_w.high;
    sum = R(sum)(log_w.high, -focal.e.high);
    log_w = R(sum_of_less)(sum.high, sum.low + (log_w.low - focal.rest));
    return R(focal_terms)(focal, R(exp_nonpositive_pair)(R(pair_product)(gamma, log_w)), gamma.high + gamma.low);
}

/* The same for gamma = 2. */
FL_INLINE R(terms) R(sigmoid_focal_loss_gamma_2)(R(operands) o, const real *param) {
    R(focal) focal = R(focal_of)(o, param);
    return R(focal_terms)(focal, R(fma)(focal.w.high, focal.w.high, 2 * focal.w.high * focal.w.low), 2);
}
