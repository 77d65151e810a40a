/* Triplets x, y, z (anchor, positive, negative): max(0, margin + |x - y| - |x - z|), where with a swap the smaller of |x - z|
 * and |y - z| is taken off. The norms are those of distance.h; param: eps, p, margin, swap. */

typedef struct {
    double value, by_xy, by_xz, by_yz; /* the loss, and its slopes by the three distances */
} R(triplet);

/* Of two equal distances each gets half the slope, as in PyTorch. */
FL_INLINE R(triplet) R(triplet_of)(double xy, double xz, double yz, double scale, const double *param) {
    int swap = param[3] != 0, nearer = swap & (yz < xz), tie = swap & (yz == xz);
    double far = swap & !(yz >= xz) ? yz : xz, gap = param[2] + xy - (xz == xz ? far : xz);
    double slope = gap == gap ? scale * R(hinge_slope)(gap) : gap, swapped = nearer ? 1 : tie ? 0.5 : 0;
    return (R(triplet)){R(hinge)(gap), slope, -slope * (1 - swapped), -slope * swapped};
}

FL_INLINE R(slopes) R(triplet_slopes)(double xy, double xz, double yz) {
    return (R(slopes)){(real)(xy + xz), (real)(yz - xy), (real)(-xz - yz)};
}

#define triplet_margin_loss_sums 3
#define triplet_margin_loss_again 0
#define triplet_margin_loss_start 0
#define triplet_margin_loss_picks 0
#define triplet_margin_loss_begin no_begin
#define triplet_margin_loss_join add_up
#define triplet_margin_loss_turn no_turn
#define triplet_margin_loss_add_again no_add
FL_INLINE R(sums) R(triplet_margin_loss_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    double xy = R(off)(o.a, o.b, param[0]), xz = R(off)(o.a, o.c, param[0]), yz = R(off)(o.b, o.c, param[0]);
    (void)k;
    s.a = r64_fma(xy, xy, s.a);
    s.b = r64_fma(xz, xz, s.b);
    s.c = r64_fma(yz, yz, s.c);
    return s;
}
FL_INLINE double R(triplet_margin_loss_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                               R(factors) *k) {
    double xy = sqrt(s->a), xz = sqrt(s->b), yz = sqrt(s->c);
    R(triplet) t = R(triplet_of)(xy, xz, yz, r->scale, param);
    k->a = r64_times(t.by_xy, R(inverse_unless_0)(xy));
    k->b = r64_times(t.by_xz, R(inverse_unless_0)(xz));
    k->c = r64_times(t.by_yz, R(inverse_unless_0)(yz));
    return t.value;
}
FL_INLINE R(slopes) R(triplet_margin_loss_grad)(R(operands) o, const R(factors) *k, const double *param) {
    return R(triplet_slopes)(r64_times(k->a, R(off)(o.a, o.b, param[0])), r64_times(k->b, R(off)(o.a, o.c, param[0])),
                             r64_times(k->c, R(off)(o.b, o.c, param[0])));
}

#define triplet_margin_loss_1_sums 3
#define triplet_margin_loss_1_again 0
#define triplet_margin_loss_1_start 0
#define triplet_margin_loss_1_picks 0
#define triplet_margin_loss_1_begin no_begin
#define triplet_margin_loss_1_join add_up
#define triplet_margin_loss_1_turn no_turn
#define triplet_margin_loss_1_add_again no_add
FL_INLINE R(sums) R(triplet_margin_loss_1_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)k;
    s.a += r64_abs(R(off)(o.a, o.b, param[0]));
    s.b += r64_abs(R(off)(o.a, o.c, param[0]));
    s.c += r64_abs(R(off)(o.b, o.c, param[0]));
    return s;
}
FL_INLINE double R(triplet_margin_loss_1_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                                 R(factors) *k) {
    R(triplet) t = R(triplet_of)(s->a, s->b, s->c, r->scale, param);
    k->a = t.by_xy, k->b = t.by_xz, k->c = t.by_yz;
    return t.value;
}
FL_INLINE R(slopes) R(triplet_margin_loss_1_grad)(R(operands) o, const R(factors) *k, const double *param) {
    return R(triplet_slopes)(k->a * r64_sign(R(off)(o.a, o.b, param[0])), k->b * r64_sign(R(off)(o.a, o.c, param[0])),
                             k->c * r64_sign(R(off)(o.b, o.c, param[0])));
}

#define triplet_margin_loss_p_sums 3
#define triplet_margin_loss_p_again 3
#define triplet_margin_loss_p_start -INFINITY
#define triplet_margin_loss_p_picks 0
#define triplet_margin_loss_p_begin no_begin
#define triplet_margin_loss_p_join larger_sums
FL_INLINE R(sums) R(triplet_margin_loss_p_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)k;
    s.a = R(extreme)(s.a, R(off)(o.a, o.b, param[0]), param[1]);
    s.b = R(extreme)(s.b, R(off)(o.a, o.c, param[0]), param[1]);
    s.c = R(extreme)(s.c, R(off)(o.b, o.c, param[0]), param[1]);
    return s;
}
FL_INLINE int R(triplet_margin_loss_p_turn)(const R(sums) *s, const R(known) *r, const double *param, R(factors) *k) {
    (void)r, (void)param;
    k->a = r64_abs(s->a), k->b = r64_abs(s->b), k->c = r64_abs(s->c);
    return 1;
}
FL_INLINE R(sums)
    R(triplet_margin_loss_p_add_again)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    s.a += R(power_of)(R(off)(o.a, o.b, param[0]), k->a, param[1]);
    s.b += R(power_of)(R(off)(o.a, o.c, param[0]), k->b, param[1]);
    s.c += R(power_of)(R(off)(o.b, o.c, param[0]), k->c, param[1]);
    return s;
}
FL_INLINE double R(triplet_margin_loss_p_finish)(const R(sums) *s, const R(known) *r, const double *param,
                                                 R(factors) *k) {
    const double p = param[1];
    R(triplet) t =
        R(triplet_of)(R(norm_of)(s->a, k->a, p), R(norm_of)(s->b, k->b, p), R(norm_of)(s->c, k->c, p), r->scale, param);
    k->d = r64_times(t.by_xy, R(norm_factor)(s->a, k->a, p));
    k->e = r64_times(t.by_xz, R(norm_factor)(s->b, k->b, p));
    k->f = r64_times(t.by_yz, R(norm_factor)(s->c, k->c, p));
    return t.value;
}
FL_INLINE R(slopes) R(triplet_margin_loss_p_grad)(R(operands) o, const R(factors) *k, const double *param) {
    const double eps = param[0], p = param[1];
    return R(triplet_slopes)(R(norm_slope)(k->d, R(off)(o.a, o.b, eps), k->a, p),
                             R(norm_slope)(k->e, R(off)(o.a, o.c, eps), k->b, p),
                             R(norm_slope)(k->f, R(off)(o.b, o.c, eps), k->c, p));
}

/* Of distances that someone else has found: a row is one number of each. */
#define triplet_margin_with_distance_loss_sums 3
#define triplet_margin_with_distance_loss_again 0
#define triplet_margin_with_distance_loss_start 0
#define triplet_margin_with_distance_loss_picks 0
#define triplet_margin_with_distance_loss_begin no_begin
#define triplet_margin_with_distance_loss_join add_up
#define triplet_margin_with_distance_loss_turn no_turn
#define triplet_margin_with_distance_loss_add_again no_add
#define triplet_margin_with_distance_loss_finish triplet_margin_loss_1_finish
FL_INLINE R(sums)
    R(triplet_margin_with_distance_loss_add)(R(sums) s, R(operands) o, const R(factors) *k, const double *param) {
    (void)k, (void)param;
    return (R(sums)){s.a + (double)o.a, s.b + (double)o.b, s.c + (double)o.c, 0};
}
FL_INLINE R(slopes) R(triplet_margin_with_distance_loss_grad)(R(operands) o, const R(factors) *k, const double *param) {
    (void)o, (void)param;
    return (R(slopes)){(real)k->a, (real)k->b, (real)k->c};
}
