/* Cosines and distances of two rows, and the losses of pairs and triplets made of them. All in double. */

FL_INLINE double R(inverse_unless_0)(double x) { return x == 0 ? 0 : 1 / x; }

/* <x, y> / (max(|x|, eps) max(|y|, eps)); param: eps.
 * By x: y / (m n) - cos x / (m |x|), m and n being the maxima: PyTorch's gradient, which takes a norm below eps to move
 * still. Where a norm is 0 that term is 0; where eps is 0 too, so is the cosine. */
#define cosine_similarity_sums 3
#define cosine_similarity_again 0
#define cosine_similarity_start 0
#define cosine_similarity_picks 0
#define cosine_similarity_begin no_begin
#define cosine_similarity_join add_up
#define cosine_similarity_turn no_turn
#define cosine_similarity_add_again no_add
FL_INLINE R(sums) R(cosine_similarity_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double x = (double)o.a, y = (double)o.b;
    (void)k, (void)param;
    s.a = r64_fma(x, y, s.a);
    s.b = r64_fma(x, x, s.b);
    s.c = r64_fma(y, y, s.c);
    return s;
}
FL_INLINE double R(cosine_similarity_finish)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    double eps = param[0], x = sqrt(s->b), y = sqrt(s->c);
    double by_m = R(inverse_unless_0)(x < eps ? eps : x), by_n = R(inverse_unless_0)(y < eps ? eps : y);
    double cosine = s->a * by_m * by_n;
    k->a = r->scale * by_m * by_n;
    k->b = r->scale * cosine * by_m * R(inverse_unless_0)(x);
    k->c = r->scale * cosine * by_n * R(inverse_unless_0)(y);
    return cosine;
}
FL_INLINE R(slopes) R(cosine_similarity_grad)(R(operands) o, const R(factors) *k, const double *param) {
    double x = (double)o.a, y = (double)o.b;
    (void)param;
    return (R(slopes)){(real)(k->a * y - k->b * x), (real)(k->a * x - k->c * y), 0};
}

/* Cosine embedding: with A = |x|^2, B = |y|^2, P = <x, y>, e = 1e-12 as a float and D = sqrt((A + e) (B + e)), cos = P / D:
 * 1 - cos for a number 1, max(0, cos - margin) for -1, else 0; param: margin. By x: y / D - cos x / (A + e), times -1 or 1.
 * Where cos is near 1, 1 - cos = (D^2 - P^2) / (D (D + P)) and D^2 - P^2 = B |x - P/B y|^2 + e (A + B + e): the second
 * walk takes the sum of the squares. */
#define PAIR_EPS 9.999999960041972e-13
#define cosine_embedding_loss_sums 3
#define cosine_embedding_loss_again 1
#define cosine_embedding_loss_start 0
#define cosine_embedding_loss_picks 0
#define cosine_embedding_loss_begin no_begin
#define cosine_embedding_loss_add cosine_similarity_add
#define cosine_embedding_loss_join add_up
#define cosine_embedding_loss_grad cosine_similarity_grad
FL_INLINE int R(cosine_embedding_loss_turn)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    double size = sqrt((s->b + PAIR_EPS) * (s->c + PAIR_EPS));
    (void)param;
    k->a = s->a, k->b = s->b, k->c = s->c;
    k->d = s->a / s->c;
    k->e = size;
    return (r->number == 1) & (2 * s->a > size);
}
FL_INLINE R(sums)
    R(cosine_embedding_loss_add_again)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double off = r64_fma(-k->d, (double)o.b, (double)o.a);
    (void)param;
    s.a = r64_fma(off, off, s.a);
    return s;
}
FL_INLINE double R(cosine_embedding_loss_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                                 R(factors) *k) {
    double dot = k->a, x = k->b, y = k->c, size = k->e, cosine = dot / size, over = cosine - param[0];
    double near = (y * s->a + PAIR_EPS * (x + y + PAIR_EPS)) / (size * (size + dot));
    double alike = 2 * dot > size ? near : 1 - cosine;
    double slope = r->number == 1 ? -1 : r->number == -1 ? R(hinge_slope)(over) : 0;
    double factor = cosine == cosine ? r->scale * slope : cosine;
    k->a = factor / size;
    k->b = factor * cosine / (x + PAIR_EPS);
    k->c = factor * cosine / (y + PAIR_EPS);
    return r->number == 1 ? alike : r->number == -1 ? R(hinge)(over) : cosine == cosine ? 0 : cosine;
}

/* Distances |x - y + eps| by the norms of p = 2 and p = 1; param: eps. By x: the slope of the norm, by y its negative;
 * where the distance is 0, that is 0. */
#define pairwise_distance_sums 1
#define pairwise_distance_again 0
#define pairwise_distance_start 0
#define pairwise_distance_picks 0
#define pairwise_distance_begin no_begin
#define pairwise_distance_join add_up
#define pairwise_distance_turn no_turn
#define pairwise_distance_add_again no_add
FL_INLINE double R(off)(real x, real y, double eps) { return (double)x - (double)y + eps; }
FL_INLINE R(slopes) R(apart)(double slope) { return (R(slopes)){(real)slope, (real)-slope, 0}; }
FL_INLINE R(sums) R(pairwise_distance_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double off = R(off)(o.a, o.b, param[0]);
    (void)k;
    s.a = r64_fma(off, off, s.a);
    return s;
}
FL_INLINE double R(pairwise_distance_finish)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    double distance = sqrt(s->a);
    (void)param;
    k->a = r->scale * R(inverse_unless_0)(distance);
    return distance;
}
FL_INLINE R(slopes) R(pairwise_distance_grad)(R(operands) o, const R(factors) *k, const double *param) {
    return R(apart)(r64_times(k->a, R(off)(o.a, o.b, param[0])));
}

#define pairwise_distance_1_sums 1
#define pairwise_distance_1_again 0
#define pairwise_distance_1_start 0
#define pairwise_distance_1_picks 0
#define pairwise_distance_1_begin no_begin
#define pairwise_distance_1_join add_up
#define pairwise_distance_1_turn no_turn
#define pairwise_distance_1_add_again no_add
FL_INLINE R(sums) R(pairwise_distance_1_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)k;
    s.a += r64_abs(R(off)(o.a, o.b, param[0]));
    return s;
}
FL_INLINE double R(pairwise_distance_1_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                               R(factors) *k) {
    (void)param;
    k->a = s->a == s->a ? r->scale : s->a;
    return s->a;
}
FL_INLINE R(slopes) R(pairwise_distance_1_grad)(R(operands) o, const R(factors) *k, const double *param) {
    return R(apart)(k->a * r64_sign(R(off)(o.a, o.b, param[0])));
}

/* And by any other p: with m the largest |off| (for p < 0 the least), m (sum of (|off| / m)^p)^(1/p), where no power exceeds
 * 1. For p = +-inf those powers are 1 at m and 0 elsewhere, for p = 0 the sum counts what is not 0. The slope of the norm
 * is sign(off) (|off| / m)^(p - 1) S^(1/p - 1), where S is the sum; 0 where off is. param: eps, p. */
FL_INLINE double R(power)(double ratio, double p) { /* of a ratio >= 0, where 1^inf = 1 */
    double y = r64_times(r64_log(ratio), p), e = r64_exp_nonpositive(-r64_abs(y));
    return y > 0 ? 1 / e : e;
}
/* The largest so far; a NaN stays. */
FL_INLINE double R(larger)(double so_far, double size) { return (size > so_far) | (size != size) ? size : so_far; }
FL_INLINE double R(extreme)(double so_far, double off, double p) {
    double size = r64_abs(off);
    return R(larger)(so_far, p < 0 ? -size : size);
}
FL_INLINE R(sums) R(larger_sums)(R(sums) s, R(sums) t) {
    return (R(sums)){R(larger)(s.a, t.a), R(larger)(s.b, t.b), R(larger)(s.c, t.c), R(larger)(s.d, t.d)};
}
FL_INLINE double R(power_of)(double off, double extreme, double p) {
    double ratio = r64_abs(off) / extreme;
    return p == 0 ? (off == 0 ? 0 : 1) : R(power)(ratio, p);
}
FL_INLINE double R(norm_of)(double sum, double extreme, double p) {
    double norm = extreme * R(power)(sum, 1 / p);
    norm = (extreme == 0) | (r64_abs(extreme) == (double)INFINITY) ? extreme : norm;
    return extreme != extreme ? extreme : p == 0 ? sum : norm;
}
FL_INLINE double R(norm_factor)(double sum, double extreme,
                                double p) { /* what the slope of an element is multiplied by */
    double factor = (extreme == 0) | (p == 0) ? 0 : R(power)(sum, 1 / p - 1);
    return extreme == extreme ? factor : extreme;
}
FL_INLINE double R(norm_slope)(double factor, double off, double extreme, double p) {
    double slope = r64_sign(off) * R(power)(r64_abs(off) / extreme, p - 1);
    return r64_times(factor, off == 0 ? 0 : slope);
}

#define pairwise_distance_p_sums 1
#define pairwise_distance_p_again 1
#define pairwise_distance_p_start -INFINITY
#define pairwise_distance_p_picks 0
#define pairwise_distance_p_begin no_begin
#define pairwise_distance_p_join larger_sums
FL_INLINE R(sums) R(pairwise_distance_p_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)k;
    s.a = R(extreme)(s.a, R(off)(o.a, o.b, param[0]), param[1]);
    return s;
}
FL_INLINE int R(pairwise_distance_p_turn)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    (void)r, (void)param;
    k->a = r64_abs(s->a);
    return 1;
}
FL_INLINE R(sums) R(pairwise_distance_p_add_again)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    s.a += R(power_of)(R(off)(o.a, o.b, param[0]), k->a, param[1]);
    return s;
}
FL_INLINE double R(pairwise_distance_p_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                               R(factors) *k) {
    k->b = r64_times(R(norm_factor)(s->a, k->a, param[1]), r->scale);
    return R(norm_of)(s->a, k->a, param[1]);
}
FL_INLINE R(slopes) R(pairwise_distance_p_grad)(R(operands) o, const R(factors) *k, const double *param) {
    return R(apart)(R(norm_slope)(k->b, R(off)(o.a, o.b, param[0]), k->a, param[1]));
}
