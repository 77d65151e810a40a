/* What both ways of walking rows share: what a kernel needs, the labels of a group of rows, blocks of a row, softcap,
 * what a group leaves behind.
 *
 * A tile is walked in groups of rows. tiles/rows.h takes a group's rows one by one, with lanes along the classes;
 * tiles/columns.h takes them together, with a row in each lane: LANES rows, and more where they are short, so that the
 * steps of one row's computation, each waiting for the one before, are many rows' at a time. */

#ifndef NEEDS_EXP
#define NEEDS_EXP 1        /* m, s */
#define NEEDS_TILT 2       /* the sum of -d e */
#define NEEDS_RANK 4       /* the target's rank */
#define NEEDS_LABEL 8      /* a class index */
#define NEEDS_DOT 16       /* the kernel's own sums */
#define MAY_DOT 32         /* those too, under label smoothing */
#define FROM_EXP 64        /* the derivatives come from e alone, not from x: e is kept */
#define NEEDS_PAIR 128     /* m, s of the target's logits too, and of every class both exponentials */
#define NEEDS_CROSS 256    /* and the sum of e (t - x) of the target's */
#define GRAD_MASS 512      /* the kernel's second sum only where a gradient is wanted */
#define IN_PIECES 1024     /* rows may come in pieces; the kernel's second sum is then of what the first has d times */
#define NEEDS_FIRST 2048   /* the first largest class, and what else is asked of rows that do not count */
#define NEEDS_SQUARES 4096 /* the sum of e^2 */
#endif

typedef R(dots) R(rowwise_dot)(R(class_of) c, const R(row_params) *p);
typedef real R(rowwise_finish)(const R(summary) *s, const R(row_params) *p, R(coefficients) *k);
typedef real R(rowwise_class)(R(class_of) c, const R(row_params) *p, const R(coefficients) *k);

/* A kernel, as the always-inline walkers take it: constants all. */
typedef struct {
    int needs;
    R(rowwise_dot) *dot;
    R(rowwise_finish) *finish;
    R(rowwise_class) *grad, *hess;
} R(rowwise_kernel);

enum { R(most_lanes) = 4 * LANES, R(width) = FL_VECTOR / (int)sizeof(real) /* of a vector register */ };

/* A group: its labels, and what is known of each row. */
typedef struct {
    int64_t first, rows;
    int lanes; /* whole LANES that hold the rows */
    int all_active;
    int blank; /* neither labels nor weights nor upstream gradients have left anything in what follows */
    int64_t label[R(most_lanes)];
    int active[R(most_lanes)]; /* neither ignored nor out of range */
    real weight[R(most_lanes)];
    double scale[R(most_lanes)]; /* of the row's derivatives */
} R(group);

/* A tile's running sums: row i in lane i % sum_lanes. */
typedef struct {
    double sum[R(sum_lanes)], weight[R(sum_lanes)];
    int64_t rows; /* of weight 1, not in `weight` */
    int64_t bad;
} R(totals);

FL_INLINE R(row_params) R(params_of)(const fl_rowwise *job) {
    R(row_params) p;
    p.keep = (real)(1 - job->param[0]);
    p.smoothing = (real)(job->param[0] / (double)job->all_classes);
    p.z_loss = (real)job->param[1];
    p.simple = job->param[0] == 0 && job->param[1] == 0;
    p.unit = (real)job->param[2];
    p.weight_sum = (real)job->weight_sum;
    p.gamma = job->param[3];
    p.temperature = job->param[4];
    p.rate = R(rate_of)(p.temperature);
    p.rate_error = (double)p.rate.c * p.temperature;
    return p;
}

/* A group as load_group wants it the first time. */
FL_INLINE void R(start_group)(R(group) *g) { g->blank = 0; }

/* The next group, in the place of the one before. */
FL_NOINLINE void R(load_group)(const fl_rowwise *job, int64_t first, int64_t rows, int needs, R(group) *g,
                               R(totals) *t) {
    const real *class_weight = (const real *)job->weight, *upstream = (const real *)job->upstream;
    const int lanes = (int)((rows + LANES - 1) / LANES) * LANES;
    g->first = first, g->rows = rows, g->lanes = lanes, g->all_active = 1;
    if (!g->blank || rows < lanes)
        for (int l = 0; l < R(most_lanes); l++)
            g->label[l] = -1, g->active[l] = l < (int)rows, g->weight[l] = 1, g->scale[l] = job->scale;
    for (int l = 0; upstream && l < rows; l++)
        g->scale[l] *= (double)upstream[first + l];
    if (needs & NEEDS_LABEL) {
        const uint64_t classes = (uint64_t)job->all_classes;
        int odd = 0;
        fl_load_labels(&job->label, first, rows, g->label);
        FL_SIMD_REDUCE(|, odd)
        for (int l = 0; l < (int)rows; l++)
            odd |= ((uint64_t)g->label[l] >= classes) | (job->has_ignore & (g->label[l] == job->ignore_index));
        for (int l = 0; odd && l < rows; l++) {
            int ignored = job->has_ignore && g->label[l] == job->ignore_index;
            if (ignored || (uint64_t)g->label[l] >= classes) {
                g->active[l] = g->all_active = 0;
                g->weight[l] = 0;
                if (!ignored && t->bad < 0)
                    t->bad = first + l;
            }
        }
        for (int l = 0; class_weight && l < rows; l++)
            g->weight[l] = g->active[l] ? class_weight[g->label[l]] : 0;
    }
    g->blank = g->all_active && rows == lanes && !class_weight && !upstream;
    if (g->all_active && !class_weight)
        t->rows += rows;
    else
        R(add_block)(t->weight, g->weight, rows);
}

FL_INLINE void R(leave)(const R(totals) *totals, fl_partial *partial) {
    R(totals) t = *totals;
    partial->sum = R(fold)(t.sum);
    partial->weight = R(fold)(t.weight) + (double)t.rows;
    partial->bad = t.bad;
}

/* Only the labels: whether they are in range, and the sum of their weights. */
static void R(labels_tile)(const void *opaque, int64_t first, int64_t count, fl_partial *partial, void *scratch) {
    const fl_rowwise *job = (const fl_rowwise *)opaque;
    R(totals) totals = {{0}, {0}, 0, -1};
    R(group) group;
    R(start_group)(&group);
    for (int64_t done = 0; done < count; done += R(most_lanes)) {
        R(load_group)(job, first + done, fl_min(count - done, R(most_lanes)), NEEDS_LABEL, &group, &totals);
    }
    (void)scratch;
    R(leave)(&totals, partial);
}

/* c tanh(x / c) */
FL_NOINLINE void R(cap)(real *x, int64_t n, real softcap) {
    FL_SIMD
    for (int64_t i = 0; i < n; i++)
        x[i] = softcap * R(tanh)(x[i] / softcap);
}

/* n classes of a row from class j on. */
FL_INLINE const real *R(classes)(const fl_matrix *matrix, const char *row, int64_t j, int64_t n, real softcap,
                                 real *buffer) {
    const char *at = row + j * matrix->class_stride;
    if (softcap == 0 && R(is_direct)(matrix->rows.dtype, at, matrix->class_stride, matrix->rows.swapped))
        return (const real *)(const void *)at;
    R(load)(matrix->rows.dtype, at, matrix->class_stride, matrix->rows.swapped, n, buffer);
    if (softcap != 0)
        R(cap)(buffer, n, softcap);
    return buffer;
}

/* From derivatives by the capped logit y = c tanh(u), u = x / c, to those by x: y' = sech^2 u, y'' = -2 tanh u sech^2 u / c. */
FL_NOINLINE void R(uncap)(const real *x, const real *capped, int64_t n, real softcap, real *grad, real *hess) {
    FL_SIMD
    for (int64_t i = 0; i < n; i++) {
        real slope = R(sech2)(x[i] / softcap);
        if (hess)
            hess[i] = hess[i] * slope * slope - grad[i] * (2 * slope * capped[i] / (softcap * softcap));
        grad[i] *= slope;
    }
}
