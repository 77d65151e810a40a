/* The scan of a row, lanes along the classes: the one pass over it that finds m and s block by block, and what else is asked of
 * it, while the block that comes next, of this row or another, is on its way. */

/* What the scan has found so far. The classes equal to the maximum are counted apart and left out of `rest`, so that
 * what little the others add is not lost beside them. */
typedef struct {
    real max;
    R(unit) unit;
    double count, rest, tilt, squares;
    int64_t first, ahead; /* the first largest class; classes that come before the target */
} R(scan);

FL_INLINE R(scan) R(nothing_seen)(void) { return (R(scan)){-REAL_INF, R(unit_of)(-REAL_INF), 0, 0, 0, 0, 0, 0}; }

/* How a sum in one unit becomes one in a larger: by a power of two, except where `base` is at work. */
FL_INLINE double R(rescale)(R(unit) from, R(unit) to) {
    return r64_exp_nonpositive(((double)from.base - (double)to.base) * (double)to.rate.c +
                               ((double)from.k - (double)to.k) * 0.69314718055994530942);
}

/* A larger maximum: what was found so far is told in its unit, and the former largest classes join the rest. */
FL_INLINE void R(raise)(R(scan) *s, real max, int needs) {
    R(unit) unit = R(unit_of)(max);
    if (s->max > -REAL_INF) {
        double factor = max < REAL_INF ? R(rescale)(s->unit, unit) : 0, all = s->rest + s->count * (double)s->unit.top;
        if (needs & NEEDS_TILT)
            s->tilt = r64_times(factor, s->tilt + ((double)max - (double)s->max) * all);
        if (needs & NEEDS_SQUARES)
            s->squares = factor * factor * (s->squares + s->count * (double)s->unit.top * (double)s->unit.top);
        s->rest = factor * all;
    }
    s->count = 0;
    s->max = max;
    s->unit = unit;
}

FL_INLINE void R(max_lanes)(real *lanes, const real *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        fl_look_ahead(x + i, LANES * (int)sizeof(real));
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            lanes[l] = R(max)(x[i + l], lanes[l]);
    }
}

/* The same unit where its base is 0 already, for the compiler to know. */
FL_INLINE R(unit) R(unbased)(R(unit) unit) {
    unit.base = 0;
    return unit;
}

/* The elements that come next: from x on, as soon as the halves they are made from, if any, have been widened to `room`, which
 * is x. */
typedef struct {
    const real *x;
    real *room;
    const char *halves;
    int dtype;
} R(coming);

/* The maxima of LANES of them, asking memory for what is behind. */
FL_INLINE void R(max_coming)(real *tops, R(coming) next, int64_t i, int halves) {
    if (halves)
        R(widen_lanes)(next.dtype, next.halves + 2 * i, next.room + i);
    else
        fl_look_ahead(next.x + i, LANES * (int)sizeof(real));
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        tops[l] = R(max)(next.x[i + l], tops[l]);
}

/* Sums over a block, in lanes. */
typedef struct {
    FL_ALIGNED(64) real sums[LANES], tilts[LANES], squares[LANES];
    FL_ALIGNED(64) bits_t others[LANES], above[LANES];
} R(lane_sums);

/* Classes come before the target whose logit is more than the target's, and of equal ones those that stand before it: those are
 * more than a number just below it. Up to element `sure` that is `of[1]`, for all of them stand before the target; from there on
 * `of[0]`, the target's logit, is compared with, and what is equal is counted by itself. */
typedef struct {
    real of[2];
    int64_t sure;
} R(level);

/* No number is below one that a processor told to may take for 0, nor below -inf. */
FL_INLINE R(level) R(level_of)(real picked, int64_t earlier, int64_t n) {
    const bits_t bits = R(to_bits)(picked);
    if (!(R(abs)(picked) > REAL_SMALLEST && picked > -REAL_INF))
        return (R(level)){{picked, picked}, 0};
    return (R(level)){{picked, R(from_bits)(picked > 0 ? bits - 1 : bits + 1)},
                      earlier < n ? earlier - earlier % LANES : n + LANES};
}

/* The same of a block's elements from number i on. */
FL_INLINE R(level) R(level_from)(R(level) level, int64_t i) {
    level.sure -= i;
    return level;
}

/* Adds up e, e^2 and (m - x) e, as needed, of n elements (a multiple of LANES), and counts those above the level. With
 * `exclude` those equal to `max` are left out, and the others counted: by masks, for a branch on them would be threaded
 * through exp and leave no loop to vectorise. With `ahead` (2: of halves) the maximum of the n elements that come next is
 * taken along, so that they come from memory while these are computed. */
FL_INLINE void R(exp_lanes)(R(lane_sums) *to, const real *x, int64_t n, R(unit) unit, real max, R(level) level,
                            int needs, int exclude, int ahead, R(coming) next, real *tops, int keep, real *kept) {
    for (int64_t i = 0; i < n; i += LANES) {
        const real here = level.of[i < level.sure];
        if (ahead)
            R(max_coming)(tops, next, i, ahead == 2);
        FL_SIMD
        for (int l = 0; l < LANES; l++) {
            real e = R(exp_in)(unit, x[i + l]);
            if (keep)
                kept[i + l] = e;
            if (exclude) {
                bits_t other = (bits_t)0 - (bits_t)(x[i + l] != max);
                e = R(from_bits)(R(to_bits)(e) & other);
                to->others[l] = x[i + l] != max ? to->others[l] + 1 : to->others[l];
            }
            to->sums[l] += e;
            if (needs & NEEDS_RANK)
                to->above[l] = x[i + l] > here ? to->above[l] + 1 : to->above[l];
            if (needs & NEEDS_SQUARES)
                to->squares[l] += e * e;
            if (needs & NEEDS_TILT)
                to->tilts[l] = R(fma)(e, R(below_max)(unit, R(shift_of)(max), x[i + l]), to->tilts[l]);
        }
    }
}

/* The same, where the base is 0, as almost always, by a loop of its own: then there is nothing to subtract. */
FL_INLINE void R(exp_run)(R(lane_sums) *to, const real *x, int64_t n, R(unit) unit, real max, R(level) level, int needs,
                          int exclude, int ahead, R(coming) next, real *tops, int keep, real *kept) {
    if (unit.base == 0)
        R(exp_lanes)(to, x, n, R(unbased)(unit), max, level, needs, exclude, ahead, next, tops, keep, kept);
    else
        R(exp_lanes)(to, x, n, unit, max, level, needs, exclude, ahead, next, tops, keep, kept);
}

/* A block on its way through the scan: n elements in memory, of which `tail` holds those behind the last whole LANES, padded
 * with -inf; and the elements of the block after it, of this row or the next, if there is one. */
typedef struct {
    const real *x;
    R(coming) next;
    int64_t n, body, next_n;
    real tail[LANES];
} R(strip);

FL_INLINE void R(exp_strip)(R(lane_sums) *to, const R(strip) *b, R(unit) unit, real max, R(level) level, int needs,
                            int exclude, real *tops, int keep, real *kept) {
    const int64_t next_body = b->next_n - b->next_n % LANES, both = fl_min(b->body, next_body);
    if (both > 0 && b->next.halves)
        R(exp_run)(to, b->x, both, unit, max, level, needs, exclude, 2, b->next, tops, keep, kept);
    else if (both > 0)
        R(exp_run)(to, b->x, both, unit, max, level, needs, exclude, 1, b->next, tops, keep, kept);
    if (both < b->body)
        R(exp_run)(to, b->x + both, b->body - both, unit, max, R(level_from)(level, both), needs, exclude, 0, b->next,
                   tops, keep, keep ? kept + both : NULL);
    if (b->body < b->n)
        R(exp_lanes)(to, b->tail, LANES, unit, max, R(level_from)(level, b->body), needs, exclude, 0, b->next, tops,
                     keep, keep ? kept + b->body : NULL);
    for (int64_t i = both; i < next_body; i += LANES)
        R(max_coming)(tops, b->next, i, b->next.halves != NULL);
    if (b->next.halves && next_body < b->next_n)
        R(load)(b->next.dtype, b->next.halves + 2 * next_body, 2, 0, b->next_n - next_body, b->next.room + next_body);
    for (int64_t l = 0; l < b->next_n - next_body; l++)
        tops[l] = R(max)(b->next.x[next_body + l], tops[l]);
}

/* Counts those of a block's elements from number i on, a multiple of LANES, that are equal to `value` and before `end`. */
FL_INLINE void R(count_ties)(bits_t *counts, const R(strip) *b, int64_t i, int64_t end, real value) {
    for (; i < end; i += LANES) {
        const real *x = i < b->body ? b->x + i : b->tail;
        const int n = (int)(end - i);
        FL_SIMD
        for (int l = 0; l < LANES; l++)
            counts[l] = (x[l] == value) & (l < n) ? counts[l] + 1 : counts[l];
    }
}

/* Takes in a block whose maximum is `top`; the answer is that of the next, if there is one. */
FL_INLINE real R(scan_block)(R(scan) *s, const R(strip) *b, real top, real picked, int64_t earlier, int needs, int keep,
                             real *kept) {
    FL_ALIGNED(64) real tops[LANES];
    R(lane_sums) sums; /* cleared one by one: gcc clears a struct by a string instruction, slow to start */
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        tops[l] = -REAL_INF, sums.sums[l] = 0, sums.others[l] = 0;
    FL_SIMD
    for (int l = 0; l < LANES; l++)
        sums.tilts[l] = sums.squares[l] = 0, sums.above[l] = 0;
    const R(level) level = R(level_of)(picked, earlier, b->n);
    if (top > s->max)
        R(raise)(s, top, needs);
    if (top == s->max) {
        R(exp_strip)(&sums, b, s->unit, s->max, level, needs, 1, tops, keep, kept);
        if (top > -REAL_INF)
            s->count += (double)((b->n + LANES - 1) / LANES * LANES) - R(fold_counts)(sums.others);
    } else {
        R(exp_strip)(&sums, b, s->unit, s->max, level, needs, 0, tops, keep, kept);
    }
    s->rest += R(fold_lanes)(sums.sums);
    if (needs & NEEDS_TILT)
        s->tilt += R(fold_lanes)(sums.tilts);
    if (needs & NEEDS_SQUARES)
        s->squares += R(fold_lanes)(sums.squares);
    if (needs & NEEDS_RANK) {
        R(count_ties)(sums.above, b, level.sure, earlier, picked);
        s->ahead += (int64_t)R(fold_counts)(sums.above);
    }
    return b->next_n > 0 ? R(fold_max)(tops) : 0;
}

FL_INLINE real R(strip_max)(const R(strip) *b) {
    FL_ALIGNED(64) real tops[LANES];
    for (int l = 0; l < LANES; l++)
        tops[l] = -REAL_INF;
    R(max_lanes)(tops, b->x, b->body);
    for (int l = 0; b->body < b->n && l < LANES; l++)
        tops[l] = R(max)(b->tail[l], tops[l]);
    return R(fold_max)(tops);
}

FL_INLINE int64_t R(first_equal)(const real *x, int64_t n, real value) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        int any = 0;
        FL_SIMD_REDUCE(|, any)
        for (int l = 0; l < LANES; l++)
            any |= x[i + l] == value;
        if (any)
            break;
    }
    while (i < n && x[i] != value)
        i++;
    return i;
}

/* Behind a row's kept exponentials, the unit of each block. */
FL_INLINE R(unit) *R(units_of)(const fl_rowwise *job, real *kept) {
    return (R(unit) *)(void *)(kept + (job->classes + FL_BLOCK - 1) / FL_BLOCK * FL_BLOCK);
}

/* The block that comes next, where it is `known`: its elements, in a buffer in turn if they do not lie in memory as reals,
 * and their maximum, taken along with the block before. */
typedef struct {
    int known, turn;
    const real *x;
    real top;
    FL_ALIGNED(64) real buffers[2][FL_BLOCK];
} R(foresight);

/* Halves are widened along with their maximum, where that is yet to be found: the buffer is written while there is
 * something to compute. */
FL_INLINE R(coming)
    R(foresee)(R(foresight) *ahead, const fl_rowwise *job, const char *row, int64_t j, int64_t n, int along) {
    const fl_matrix *m = &job->input;
    const char *at = row + j * m->class_stride;
    R(coming) next = {NULL, NULL, NULL, m->rows.dtype};
    ahead->turn ^= 1;
    if (along && job->softcap == 0 && R(is_widened)(m->rows.dtype, m->class_stride, m->rows.swapped))
        next.x = next.room = ahead->buffers[ahead->turn], next.halves = at;
    else
        next.x = R(classes)(m, row, j, n, (real)job->softcap, ahead->buffers[ahead->turn]);
    ahead->x = next.x;
    return next;
}

/* Goes on from s. `next_row` follows this one, or is NULL. */
FL_INLINE R(scan) R(scan_classes)(const fl_rowwise *job, R(scan) s, const char *row, const char *next_row,
                                  R(foresight) *ahead, real picked, int64_t label, int needs, int keep, real *kept) {
    R(unit) *units = keep ? R(units_of)(job, kept) : NULL;
    R(strip) b;
    b.next = (R(coming)){NULL, NULL, NULL, 0};
    for (int64_t j = 0; j < job->classes; j += FL_BLOCK) {
        const real before = s.max;
        const int64_t rest = job->classes - j - FL_BLOCK;
        b.n = fl_min(job->classes - j, FL_BLOCK), b.body = b.n - b.n % LANES;
        b.x = ahead->known ? ahead->x : R(foresee)(ahead, job, row, j, b.n, 0).x;
        if (b.body < b.n)
            for (int l = 0; l < LANES; l++)
                b.tail[l] = l < b.n - b.body ? b.x[b.body + l] : -REAL_INF;
        if (!ahead->known)
            ahead->top = R(strip_max)(&b);
        ahead->known = rest > 0 || next_row;
        b.next_n = !ahead->known ? 0 : fl_min(rest > 0 ? rest : job->classes, FL_BLOCK);
        if (ahead->known)
            b.next = R(foresee)(ahead, job, rest > 0 ? row : next_row, rest > 0 ? j + FL_BLOCK : 0, b.next_n, 1);
        ahead->top = R(scan_block)(&s, &b, ahead->top, picked, label > j ? fl_min(label - j, b.n) : 0, needs, keep,
                                   keep ? kept + j : NULL);
        if (keep)
            units[j / FL_BLOCK] = s.unit;
        if (needs & NEEDS_FIRST && s.max > before)
            s.first = j + R(first_equal)(b.x, b.n, s.max);
    }
    return s;
}

FL_NOINLINE R(scan) R(scan_plain)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, 0, 0, NEEDS_EXP, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_tilt)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, 0, 0, NEEDS_EXP | NEEDS_TILT, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_rank)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead,
                                 real picked, int64_t label) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, picked, label, score_outcome_needs, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_first)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead,
                                  real picked, int64_t label) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, picked, label, score_needs, 0, NULL);
}
FL_NOINLINE R(scan) R(scan_squares)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead,
                                    real picked, int64_t label) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, picked, label, score_outcome_brier_needs, 0,
                           NULL);
}
FL_NOINLINE R(scan)
    R(scan_keep)(const fl_rowwise *job, const char *row, const char *next_row, R(foresight) *ahead, real *kept) {
    return R(scan_classes)(job, R(nothing_seen)(), row, next_row, ahead, 0, 0, NEEDS_EXP, 1, kept);
}
FL_NOINLINE R(scan)
    R(scan_on)(const fl_rowwise *job, R(scan) s, const char *row, const char *next_row, R(foresight) *ahead) {
    return R(scan_classes)(job, s, row, next_row, ahead, 0, 0, NEEDS_EXP, 0, NULL);
}
