/* The mathematics of one element of every pointwise loss: from its operands to the loss and its derivatives by the
 * predictions. Who calls and wants only some of them pays only for those: the rest is dead code after inlining. */

/* The operands in the order of losses.def, and the parameters. */
typedef struct {
    real a, b, c, d;
} R(operands);

typedef struct {
    real value;
    real grad_a, grad_b, grad_c; /* by each prediction argument */
    real hess;                   /* second derivative by the first */
    bits_t refused;              /* not 0: the operands lie outside the loss's domain; a NaN does not */
} R(terms);

/* (x - t)^2 */
FL_INLINE R(terms) R(mse_loss)(R(operands) o, const real *param) {
    real d = o.a - o.b;
    (void)param;
    return (R(terms)){d * d, 2 * d, 0, 0, 2, 0};
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
    return (R(terms)){R(times)(away, size) + R(log1p_unit)(e), x < 0 ? 0 - slope : slope, 0, 0, near * (near * e), 0};
}

/* The same with t softplus(-x) times p, the weight of the positive class. */
FL_INLINE R(terms) R(binary_cross_entropy_with_logits_pos_weight)(R(operands) o, const real *param) {
    real x = o.a, size = R(abs)(x), e = R(exp_nonpositive)(-size), near = 1 / (1 + e);
    real positive = o.b * o.c, negative = 1 - o.b, both = negative + positive;
    real away = x < 0 ? positive : negative, toward = x < 0 ? negative : positive;
    real slope = near * R(fma)(-toward, e, away);
    (void)param;
    return (R(terms)){R(fma)(both, R(log1p_unit)(e), R(times)(away, size)),
                      x < 0 ? 0 - slope : slope,
                      0,
                      0,
                      both * (near * (near * e)),
                      0};
}
