/* A tile of every loss over pairs, stamped from losses.def: rows of products of an anchor with all embeddings become what
 * its loss is made of, two lists; and the slopes of those become rows again, over the products. The embeddings are in the
 * order of their labels, so that an anchor's positives lie together. */

/* The thread's room: places of near pairs, and both lists with their slopes. */
FL_INLINE void R(pairwise_room)(const fl_pairwise *job, char *scratch, int64_t **near, real **x, real **slope) {
    const int64_t n = fl_pairwise_room(job->points.columns);
    *near = (int64_t *)(void *)scratch;
    *x = (real *)(void *)(scratch + 8 * n);
    *slope = *x + n;
}

/* Derivatives by distances become factors of x - y: w = slope / distance; of no distance the slope is 0. */
FL_INLINE void R(slopes_to_factors)(real *to, const real *slope, const real *distance, int64_t n) {
    FL_SIMD
    for (int64_t i = 0; i < n; i++)
        to[i] = distance[i] == 0 ? 0 : slope[i] / distance[i];
}

FL_INLINE void R(put)(const fl_pairwise *job, real *to, const R(list) *list, int64_t from, int64_t n) {
    if (job->metric == FL_DISTANCE) {
        R(slopes_to_factors)(to, list->slope + from, list->x + from, n);
        return;
    }
    const real factor = (real)(job->metric == FL_SQUARE ? 2 * job->factor : 1);
    FL_SIMD
    for (int64_t i = 0; i < n; i++)
        to[i] = factor * list->slope[from + i];
}

FL_INLINE void R(pairwise_tile)(const fl_pairwise *job, int64_t first, int64_t count, char *scratch,
                                R(pairwise_kernel) *kernel, real positive_fill, real negative_fill, int picks) {
    const int64_t n = job->points.columns;
    int64_t *near;
    real *x, *slope;
    R(pairwise_room)(job, scratch, &near, &x, &slope);
    for (int64_t i = first; i < first + count; i++) {
        const int64_t own = job->first + i, begin = job->begin[own], end = job->end[own];
        real *pairs = (real *)job->pairs + i * n;
        R(list) p = {x, slope, end - begin - 1};
        const int64_t room = R(whole_lanes)(p.n);
        R(list) q = {x + room, slope + room, n - (end - begin)};
        R(anchor) a = {{0, 0}, {0, 0}, {-1, -1}, 0};
        if (job->metric != FL_PRODUCT)
            R(distances)(&job->points, own, pairs, job->metric == FL_DISTANCE, (real)job->factor, near);
        memcpy(x, pairs + begin, (size_t)(own - begin) * sizeof(real));
        memcpy(x + (own - begin), pairs + own + 1, (size_t)(end - own - 1) * sizeof(real));
        for (int64_t l = p.n; l < room; l++)
            x[l] = positive_fill;
        x += room;
        memcpy(x, pairs, (size_t)begin * sizeof(real));
        memcpy(x + begin, pairs + end, (size_t)(n - end) * sizeof(real));
        for (int64_t l = q.n; l < R(whole_lanes)(q.n); l++)
            x[l] = negative_fill;
        x -= room;
        kernel(&p, &q, job->param, job->slopes, &a);
        for (int part = 0; part < FL_PAIR_PARTS; part++) {
            job->sum[FL_PAIR_PARTS * i + part] = a.sum[part];
            job->terms[FL_PAIR_PARTS * i + part] = a.terms[part];
        }
        if (!job->slopes)
            continue;
        if (picks) {
            real by[2] = {(real)a.slope, (real)-a.slope}, at[2] = {0, 0};
            R(list) picked = {at, by, 2};
            if (a.picked[0] >= 0)
                at[0] = p.x[a.picked[0]], at[1] = q.x[a.picked[1]];
            R(put)(job, (real *)job->factors + 2 * i, &picked, 0, 2);
            job->picked[2 * i] = begin + a.picked[0] + (begin + a.picked[0] >= own);
            job->picked[2 * i + 1] = a.picked[1] < begin ? a.picked[1] : a.picked[1] + (end - begin);
            if (a.picked[0] < 0)
                job->picked[2 * i] = job->picked[2 * i + 1] = own;
            continue;
        }
        R(put)(job, pairs + begin, &p, 0, own - begin);
        R(put)(job, pairs + own + 1, &p, own - begin, end - own - 1);
        R(put)(job, pairs, &q, 0, begin);
        R(put)(job, pairs + end, &q, begin, n - end);
        pairs[own] = 0;
    }
}

#define PAIRWISE(name)                                                                                                 \
    static void R(name##_tile)(const void *job, int64_t first, int64_t count, fl_partial *partial, void *scratch) {    \
        (void)partial;                                                                                                 \
        R(pairwise_tile)((const fl_pairwise *)job, first, count, (char *)scratch, R(name##_anchor), name##_fill(1),    \
                         name##_fill(0), name##_picks);                                                                \
    }
#include "losses.def"
