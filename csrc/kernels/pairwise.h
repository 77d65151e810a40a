/* Losses over pairs of embeddings: what one embedding, the anchor, has with all the others. A kernel sees two lists: the
 * distances (or similarities) of its positives, which have its label, and of its negatives, which have not; both are
 * filled up to whole lanes with `fill`. It leaves the sum of the loss's terms and their number, in parts where each part
 * has a mean of its own, and if `slopes` is set its derivative by every member of the lists. It knows nothing of labels,
 * matrices or embeddings. */

typedef struct {
    const real *x; /* what the anchor has with each */
    real *slope;   /* derivatives of the anchor's loss by these */
    int64_t n;
} R(list);

typedef struct {
    double sum[FL_PAIR_PARTS];
    int64_t terms[FL_PAIR_PARTS];
    int64_t picked[2]; /* of a kernel that takes one positive and one negative: their places */
    double slope;      /* by that positive; by that negative it is the opposite */
} R(anchor);

typedef void R(pairwise_kernel)(const R(list) *p, const R(list) *n, const double *param, int slopes, R(anchor) *a);

FL_INLINE int64_t R(whole_lanes)(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* max(0, x), or log(1 + e^x) if `soft`; and the slope. */
FL_INLINE real R(over_margin)(real x, int soft) {
    real hinge = x <= 0 ? 0 : x;
    return soft ? hinge + R(log1p_unit)(R(exp_nonpositive)(-R(abs)(x))) : hinge;
}
FL_INLINE real R(over_margin_slope)(real x, int soft) {
    real e;
    if (!soft)
        return x > 0 ? 1 : 0;
    e = R(exp_nonpositive)(-R(abs)(x));
    return (x > 0 ? 1 : e) / (1 + e);
}

FL_INLINE void R(zero)(real *to, int64_t n) { memset(to, 0, (size_t)n * sizeof(real)); }

/* The largest of `sign` times the members; -inf of an empty list; a NaN wins. */
FL_INLINE real R(outermost)(const R(list) *list, real sign) {
    FL_ALIGNED(64) real tops[LANES], odd[LANES] = {0};
    real nan = 0;
    for (int l = 0; l < LANES; l++)
        tops[l] = -REAL_INF;
    for (int64_t i = 0; i < list->n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real x = sign * list->x[i + l];
            tops[l] = R(max)(x, tops[l]);
            odd[l] = x == x ? odd[l] : x;
        }
    }
    for (int l = 0; l < LANES; l++)
        nan += odd[l];
    return nan == nan ? R(fold_max)(tops) : nan;
}

/* The smallest member above `low`; +inf if there is none. */
FL_INLINE real R(next_above)(const R(list) *list, real low) {
    FL_ALIGNED(64) real least[LANES];
    for (int l = 0; l < LANES; l++)
        least[l] = -REAL_INF;
    for (int64_t i = 0; i < list->n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real x = list->x[i + l];
            least[l] = R(max)(x > low ? -x : -REAL_INF, least[l]);
        }
    }
    return -R(fold_max)(least);
}

/* The place of the first member equal to a value that is there. */
FL_INLINE int64_t R(place_of)(const R(list) *list, real value) {
    int64_t i = R(first_equal)(list->x, list->n, value);
    return i < list->n ? i : 0;
}

/* Sum of e^(x - top) over a list, and in `e` each of them. */
FL_INLINE double R(exp_sum)(const R(list) *list, real top, real *e) {
    FL_ALIGNED(64) real sums[LANES] = {0};
    for (int64_t i = 0; i < list->n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            e[i + l] = R(exp_nonpositive)(list->x[i + l] - top);
            sums[l] += e[i + l];
        }
    }
    return R(fold_lanes)(sums);
}

FL_INLINE void R(multiply)(real *x, int64_t n, real factor) {
    FL_SIMD
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* Every positive with every negative: the sum of [p - n + margin]+, its terms those above 0; or of log(1 + e^(p - n)).
 * param: margin, soft. (Hermans, Beyer and Leibe, In Defense of the Triplet Loss, 2017.) */
#define batch_all_triplet_loss_fill(positive) ((positive) ? -REAL_INF : REAL_INF)
#define batch_all_triplet_loss_picks 0
FL_INLINE void R(all_negatives)(const R(list) *n, real edge, int soft, int slopes, double *sum, double *terms,
                                double *pull) {
    FL_ALIGNED(64) real sums[LANES] = {0}, counts[LANES] = {0}, pulls[LANES] = {0};
    for (int64_t i = 0; i < n->n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real over = edge - n->x[i + l], slope = slopes && soft ? R(over_margin_slope)(over, soft) : 0;
            sums[l] += R(over_margin)(over, soft);
            counts[l] += over <= 0 ? 0 : 1;
            if (slopes) {
                slope = soft ? slope : over > 0 ? 1 : 0;
                n->slope[i + l] -= slope;
                pulls[l] += slope;
            }
        }
    }
    *sum = R(fold_lanes)(sums);
    *terms = R(fold_lanes)(counts);
    *pull = R(fold_lanes)(pulls);
}
FL_INLINE void R(batch_all_triplet_loss_anchor)(const R(list) *p, const R(list) *n, const double *param, int slopes,
                                                R(anchor) *a) {
    const real margin = (real)param[0];
    const int soft = param[1] != 0;
    double sum, terms, pull;
    if (slopes)
        R(zero)(n->slope, R(whole_lanes)(n->n));
    for (int64_t i = 0; i < p->n; i++) {
        if (soft && slopes)
            R(all_negatives)(n, p->x[i], 1, 1, &sum, &terms, &pull);
        else if (soft)
            R(all_negatives)(n, p->x[i], 1, 0, &sum, &terms, &pull);
        else if (slopes)
            R(all_negatives)(n, p->x[i] + margin, 0, 1, &sum, &terms, &pull);
        else
            R(all_negatives)(n, p->x[i] + margin, 0, 0, &sum, &terms, &pull);
        a->sum[0] += sum;
        a->terms[0] += soft ? n->n : (int64_t)terms;
        if (slopes)
            p->slope[i] = (real)pull;
    }
}

/* The farthest positive with the nearest negative; params as above. */
#define batch_hard_triplet_loss_fill batch_all_triplet_loss_fill
#define batch_hard_triplet_loss_picks 1
FL_INLINE void R(batch_hard_triplet_loss_anchor)(const R(list) *p, const R(list) *n, const double *param, int slopes,
                                                 R(anchor) *a) {
    const int soft = param[1] != 0;
    real far, near, over;
    if (p->n == 0 || n->n == 0)
        return;
    far = R(outermost)(p, 1), near = -R(outermost)(n, -1);
    over = far - near + (soft ? 0 : (real)param[0]);
    a->sum[0] = (double)R(over_margin)(over, soft);
    a->terms[0] = 1;
    if (slopes) {
        a->picked[0] = R(place_of)(p, far), a->picked[1] = R(place_of)(n, near);
        a->slope = (double)R(over_margin_slope)(over, soft);
    }
}

/* Every positive with the nearest negative that is farther than it, or where there is none with the farthest. Its terms are
 * all positives. (Schroff, Kalenichenko and Philbin, FaceNet, 2015.) */
#define batch_semihard_triplet_loss_fill batch_all_triplet_loss_fill
#define batch_semihard_triplet_loss_picks 0
FL_INLINE void R(batch_semihard_triplet_loss_anchor)(const R(list) *p, const R(list) *n, const double *param,
                                                     int slopes, R(anchor) *a) {
    const int soft = param[1] != 0;
    real farthest = -REAL_INF;
    if (slopes)
        R(zero)(p->slope, p->n), R(zero)(n->slope, n->n);
    if (p->n == 0 || n->n == 0)
        return;
    for (int64_t i = 0; i < n->n; i++)
        farthest = n->x[i] <= farthest ? farthest : n->x[i];
    a->terms[0] = p->n;
    for (int64_t i = 0; i < p->n; i++) {
        real outside = R(next_above)(n, p->x[i]), negative = outside < REAL_INF ? outside : farthest;
        real over = p->x[i] - negative + (soft ? 0 : (real)param[0]);
        a->sum[0] += (double)R(over_margin)(over, soft);
        if (slopes) {
            real slope = R(over_margin_slope)(over, soft);
            p->slope[i] = slope;
            n->slope[R(place_of)(n, negative)] -= slope;
        }
    }
}

/* Pairs by themselves: [p - margin]+ of a positive, [margin' - n]+ of a negative, two parts whose terms are those above 0.
 * param: margin, margin'; what each part's slopes are multiplied by. (Hadsell, Chopra and LeCun, Dimensionality
 * Reduction by Learning an Invariant Mapping, 2006.) */
#define contrastive_loss_fill batch_all_triplet_loss_fill
#define contrastive_loss_picks 0
FL_INLINE void R(beyond)(const R(list) *list, real sign, real margin, real scale, int slopes, double *sum,
                         int64_t *terms) {
    FL_ALIGNED(64) real sums[LANES] = {0}, counts[LANES] = {0};
    for (int64_t i = 0; i < list->n; i += LANES) {
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real over = sign * (list->x[i + l] - margin);
            sums[l] += over <= 0 ? 0 : over;
            counts[l] += over <= 0 ? 0 : 1;
            if (slopes)
                list->slope[i + l] = over > 0 ? sign * scale : 0;
        }
    }
    *sum = R(fold_lanes)(sums);
    *terms = (int64_t)R(fold_lanes)(counts);
}
FL_INLINE void R(contrastive_loss_anchor)(const R(list) *p, const R(list) *n, const double *param, int slopes,
                                          R(anchor) *a) {
    if (slopes) {
        R(beyond)(p, 1, (real)param[0], (real)param[2], 1, &a->sum[0], &a->terms[0]);
        R(beyond)(n, -1, (real)param[1], (real)param[3], 1, &a->sum[1], &a->terms[1]);
    } else {
        R(beyond)(p, 1, (real)param[0], 1, 0, &a->sum[0], &a->terms[0]);
        R(beyond)(n, -1, (real)param[1], 1, 0, &a->sum[1], &a->terms[1]);
    }
}

/* Of similarities s in units of the temperature: every positive against the negatives, -log(e^p / (e^p + sum of e^n)),
 * which is log(1 + e^(lse n - p)). (Chen et al., A Simple Framework for Contrastive Learning, 2020.) */
#define similarity_fill(positive) ((void)(positive), -REAL_INF)
#define nt_xent_loss_fill similarity_fill
#define nt_xent_loss_picks 0
FL_INLINE void R(nt_xent_loss_anchor)(const R(list) *p, const R(list) *n, const double *param, int slopes,
                                      R(anchor) *a) {
    const real top = R(outermost)(n, 1);
    const double all = n->n ? R(exp_sum)(n, top, n->slope) : 1;
    const real lse = top + (real)r64_log(all);
    double pull = 0, sum = 0;
    (void)param;
    for (int64_t i = 0; i < p->n; i++) {
        real over = lse - p->x[i], slope = R(over_margin_slope)(over, 1);
        sum += (double)R(over_margin)(over, 1);
        pull += (double)slope;
        if (slopes)
            p->slope[i] = -slope;
    }
    a->sum[0] = sum;
    a->terms[0] = p->n;
    if (slopes)
        R(multiply)(n->slope, n->n, (real)(pull / all));
}

/* Of similarities in units of the temperature: the mean over the positives of lse(all) - p.
 * (Khosla et al., Supervised Contrastive Learning, 2020: L_out.) */
#define supcon_loss_fill similarity_fill
#define supcon_loss_picks 0
FL_INLINE void R(supcon_loss_anchor)(const R(list) *p, const R(list) *n, const double *param, int slopes,
                                     R(anchor) *a) {
    const real near = R(outermost)(p, 1), top_n = R(outermost)(n, 1),
               top = near >= top_n || near != near ? near : top_n;
    double all, mean = 0;
    (void)param;
    if (p->n == 0) {
        if (slopes)
            R(zero)(n->slope, n->n);
        return;
    }
    all = R(exp_sum)(p, top, p->slope) + R(exp_sum)(n, top, n->slope);
    for (int64_t i = 0; i < p->n; i++)
        mean += (double)(top - p->x[i]);
    a->sum[0] = mean / (double)p->n + r64_log(all);
    a->terms[0] = 1;
    if (slopes) {
        const real inverse = (real)(1 / all), share = (real)(1 / (double)p->n);
        R(multiply)(n->slope, n->n, inverse);
        FL_SIMD
        for (int64_t i = 0; i < p->n; i++)
            p->slope[i] = R(fma)(p->slope[i], inverse, -share);
    }
}

/* Of cosines, with u = -g [1 + m - p]+ (p - (1 - m)) and v = g [n + m]+ (n - m), the factors in brackets being constants to
 * the derivative: log(1 + e^(lse u + lse v)). param: m, g. (Sun et al., Circle Loss, 2020.) */
#define circle_loss_fill(positive) ((positive) ? REAL_INF : -REAL_INF)
#define circle_loss_picks 0
FL_INLINE void R(circle_logits)(const R(list) *list, real m, real g, int positive, real *to) {
    const int64_t whole = R(whole_lanes)(list->n);
    FL_SIMD
    for (int64_t i = 0; i < list->n; i++) {
        real x = list->x[i], way = positive ? 1 + m - x : x + m;
        way = way <= 0 ? 0 : way;
        to[i] = g * way * (positive ? 1 - m - x : x - m);
    }
    for (int64_t i = list->n; i < whole; i++)
        to[i] = -REAL_INF;
}
FL_INLINE double R(circle_lse)(const R(list) *list, real m, real g, int positive, real *top, double *all) {
    R(list) logits = {list->slope, list->slope, list->n};
    R(circle_logits)(list, m, g, positive, list->slope);
    *top = R(outermost)(&logits, 1);
    *all = R(exp_sum)(&logits, *top, list->slope);
    return (double)*top + r64_log(*all);
}
FL_INLINE void R(circle_slopes)(const R(list) *list, real m, real g, int positive, real factor) {
    FL_SIMD
    for (int64_t i = 0; i < list->n; i++) {
        real x = list->x[i], way = positive ? 1 + m - x : x + m;
        way = way <= 0 ? 0 : way;
        list->slope[i] *= factor * (positive ? -g * way : g * way);
    }
}
FL_INLINE void R(circle_loss_anchor)(const R(list) *p, const R(list) *n, const double *param, int slopes,
                                     R(anchor) *a) {
    const real m = (real)param[0], g = (real)param[1];
    real top;
    double x, e, slope, all_p, all_n;
    if (p->n == 0 || n->n == 0) {
        if (slopes)
            R(zero)(p->slope, p->n), R(zero)(n->slope, n->n);
        return;
    }
    x = R(circle_lse)(p, m, g, 1, &top, &all_p);
    x += R(circle_lse)(n, m, g, 0, &top, &all_n);
    e = r64_exp_nonpositive(-r64_abs(x));
    a->sum[0] = (x > 0 ? x : x == x ? 0 : x) + r64_log1p(e);
    a->terms[0] = 1;
    if (slopes) {
        slope = (x > 0 ? 1 : e) / (1 + e);
        R(circle_slopes)(p, m, g, 1, (real)(slope / all_p));
        R(circle_slopes)(n, m, g, 0, (real)(slope / all_n));
    }
}
