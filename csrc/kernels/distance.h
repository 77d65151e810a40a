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
FL_INLINE R(sums)
    R(cosine_similarity_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
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
