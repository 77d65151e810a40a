/* One tile of a pointwise loss: block by block, operands in, kernel, outputs and sum out. A kernel may have a shorter form
 * for targets that are 0 or 1, with the same results there: it is tried first, until it refuses a block. */

typedef R(terms) R(pointwise_kernel)(R(operands) o, const real *param);

/* Sums in float64 over fixed lanes: 32 running sums, element i in number i % 32. */
enum { R(sum_lanes) = 32 };

FL_INLINE void R(add_block)(double *sums, const real *x, int64_t n) {
    int64_t body = n - n % R(sum_lanes), done = 0;
#if REAL_BITS == 32
    done = fl_add_f32(sums, x, n);
#endif
    for (int64_t i = done; i < body; i += R(sum_lanes)) {
        FL_SIMD
        for (int l = 0; l < R(sum_lanes); l++)
            sums[l] += (double)x[i + l];
    }
    for (int64_t i = body; i < n; i++)
        sums[i - body] += (double)x[i];
}

FL_INLINE double R(fold)(double *sums) {
    for (int half = R(sum_lanes) / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            sums[l] += sums[l + half];
    return sums[0];
}

/* What a block's elements become: arrays of FL_BLOCK; and where gradients go past the cache step by step, so that memory
 * is read meanwhile, how far they have gone. Those share no memory with an operand. */
typedef struct {
    real *value, *hess, (*grad)[FL_BLOCK];
    char *to[FL_MAX_GRADS]; /* NULL: not so */
    size_t gone[FL_MAX_GRADS];
} R(pointwise_made);

enum {
    R(pointwise_step) = 64
}; /* elements between two requests for memory that comes later; a block holds whole steps */

FL_INLINE void R(put_terms)(R(terms) terms, int grads, int mode, real scale, real *value, real *grad_a, real *grad_b,
                            real *grad_c, real *hess, bits_t *sign) {
    *sign |= R(to_bits)(terms.inside);
    if (mode != FL_MODE_HESS)
        *value = terms.value;
    if (mode != FL_MODE_VALUE) {
        *grad_a = terms.grad_a * scale;
        if (grads > 1)
            *grad_b = terms.grad_b * scale;
        if (grads > 2)
            *grad_c = terms.grad_c * scale;
    }
    if (mode == FL_MODE_HESS)
        *hess = terms.hess * scale;
}

/* One step. Of a long kernel two elements at a time, where there are registers for it: a processor does not look further
 * ahead than to the next one, and waits for the chain of this one. */
FL_INLINE void R(pointwise_elements)(R(pointwise_kernel) *kernel, int grads, int mode, int is_long,
                                     const real *restrict a, const real *restrict b, const real *restrict c,
                                     const real *restrict d, const real *restrict param, real scale,
                                     real *restrict value, real *restrict grad_a, real *restrict grad_b,
                                     real *restrict grad_c, real *restrict hess, bits_t *restrict sign) {
    const int both = is_long && FL_VECTOR == 64, count = R(pointwise_step) / (both ? 2 : 1);
    FL_SIMD
    for (int l = 0; l < count; l++) {
        const int m = both ? l + R(pointwise_step) / 2 : l;
        const R(operands) left = {a[l], b[l], c[l], d[l], 0}, right = {a[m], b[m], c[m], d[m], 0};
        const R(terms) of_left = kernel(left, param), of_right = kernel(right, param);
        R(put_terms)(of_left, grads, mode, scale, value + l, grad_a + l, grad_b + l, grad_c + l, hess + l, sign + l);
        if (both)
            R(put_terms)(of_right, grads, mode, scale, value + m, grad_a + m, grad_b + m, grad_c + m, hess + m,
                         sign + m);
    }
}

/* The loop over n elements, whole steps of them, each one vector loop; whether an element may be outside the domain: those
 * inside have no sign, but for -0 and NaN. */
FL_INLINE int R(pointwise_block)(R(pointwise_kernel) *kernel, int operands, int grads, int mode, int is_long,
                                 const real *const *in, int64_t n, const real *param, real scale,
                                 R(pointwise_made) *made) {
    const real *a = in[0], *b = in[1], *c = in[operands > 2 ? 2 : 0], *d = in[operands > 3 ? 3 : 0];
    real *value = made->value, *hess = made->hess;
    R(pointwise_made) out = *made; /* which nothing else points to */
    for (int g = 0; g < grads; g++)
        out.gone[g] = 0;
    real *grad_a = made->grad[0], *grad_b = made->grad[1], *grad_c = made->grad[2];
    FL_ALIGNED(64) bits_t sign[R(pointwise_step)] = {0}, any = 0;
    for (int64_t i = 0; i < n; i += R(pointwise_step)) {
        for (int k = 0; k < operands; k++)
            fl_look_ahead(in[k] + i, R(pointwise_step) *(int)sizeof(real));
        for (int g = 0; mode == FL_MODE_GRAD && g < grads; g++) /* of the steps before, which have reached the cache */
            if (out.to[g])
                out.gone[g] =
                    fl_stream_lines(out.to[g], (const char *)out.grad[g], out.gone[g], (size_t)i * sizeof(real));
        R(pointwise_elements)(kernel, grads, mode, is_long, a + i, b + i, c + i, d + i, param, scale, value + i,
                              grad_a + i, grad_b + i, grad_c + i, hess + i, sign);
    }
    *made = out;
    for (int l = 0; l < R(pointwise_step); l++)
        any |= sign[l];
    return any >> (REAL_BITS - 1) != 0;
}

/* The first of n elements, from number `at` on, that the kernel refuses; -1: none. */
FL_INLINE int64_t R(first_refused)(R(pointwise_kernel) *kernel, int operands, const real *const *in, int64_t at,
                                   int64_t n, const real *param) {
    for (int64_t i = 0; i < n; i++) {
        R(operands) o = {in[0][i], in[1][i], in[operands > 2 ? 2 : 0][i], in[operands > 3 ? 3 : 0][i]};
        if (kernel(o, param).inside < 0)
            return at + i;
    }
    return -1;
}

FL_INLINE void R(weigh_block)(const real *weight, int64_t n, real scale, real *x) {
    FL_SIMD
    for (int64_t i = 0; i < n; i++)
        x[i] = R(weigh)(weight[i] * scale, x[i]);
}

/* Whole steps from the end of a tile: the last element again and again. */
FL_NOINLINE const real *R(fill_step)(const real *x, int64_t n, real *buffer) {
    if (x != buffer)
        memcpy(buffer, x, (size_t)n * sizeof(real));
    for (int64_t i = n; i % R(pointwise_step) != 0; i++)
        buffer[i] = buffer[n - 1];
    return buffer;
}

FL_INLINE void R(pointwise_tile)(const fl_pointwise *job, int64_t first, int64_t count, fl_partial *partial,
                                 R(pointwise_kernel) *kernel, R(pointwise_kernel) *hard, int operands, int grads,
                                 int mode, int is_long) {
    FL_ALIGNED(64)
    real buffer[FL_MAX_OPERANDS][FL_BLOCK], value[FL_BLOCK], grad[FL_MAX_GRADS][FL_BLOCK], hess[FL_BLOCK];
    FL_ALIGNED(64) double sums[R(sum_lanes)] = {0};
    R(pointwise_made) made = {value, hess, grad, {NULL}, {0}};
    real param[FL_MAX_PARAMS], scale = (real)job->scale, factor = job->weighted ? 1 : scale;
    int is_hard = hard != NULL;
    for (int i = 0; i < FL_MAX_PARAMS; i++)
        param[i] = (real)job->param[i];
    partial->bad = -1;
    for (int k = 0; k <= operands; k++) /* a single number for all: filled in once */
        if (job->operand[k].ndim == 0)
            R(load)(job->operand[k].dtype, job->operand[k].data, 0, job->operand[k].swapped, FL_BLOCK, buffer[k]);
    for (int64_t done = 0; done < count; done += FL_BLOCK) {
        int64_t n = fl_min(count - done, FL_BLOCK), at = first + done, whole = n;
        const real *in[FL_MAX_OPERANDS];
        for (int k = 0; k <= operands; k++)
            in[k] = job->operand[k].ndim == 0 ? buffer[k] : R(block)(&job->operand[k], at, n, buffer[k]);
        if (n % R(pointwise_step) != 0) {
            for (int k = 0; k < operands; k++)
                in[k] = R(fill_step)(in[k], n, buffer[k]);
            whole += R(pointwise_step) - n % R(pointwise_step);
        }
        for (int g = 0; mode == FL_MODE_GRAD && g < grads; g++)
            made.to[g] = job->stream && !job->weighted ? R(direct_block)(&job->grad[g], at, n) : NULL;
        is_hard = is_hard && !R(pointwise_block)(hard, operands, grads, mode, is_long, in, whole, param, factor, &made);
        if (!is_hard && R(pointwise_block)(kernel, operands, grads, mode, is_long, in, whole, param, factor, &made) &&
            partial->bad < 0)
            partial->bad = R(first_refused)(kernel, operands, in, at, n, param);
        if (job->weighted) {
            const real *weight = in[operands];
            if (mode != FL_MODE_HESS)
                R(weigh_block)(weight, n, 1, value);
            for (int g = 0; mode != FL_MODE_VALUE && g < grads; g++)
                R(weigh_block)(weight, n, scale, grad[g]);
            if (mode == FL_MODE_HESS)
                R(weigh_block)(weight, n, scale, hess);
        }
        if (mode != FL_MODE_HESS && job->sum)
            R(add_block)(sums, value, n);
        if (mode != FL_MODE_HESS && job->value.data)
            R(put_block)(&job->value, at, n, value, 0);
        for (int g = 0; mode != FL_MODE_VALUE && g < grads; g++) {
            const size_t gone = made.gone[g], left = (size_t)n * sizeof(real) - gone;
            if (made.to[g])
                fl_stream(made.to[g] + gone, (const char *)grad[g] + gone, left);
            else
                R(put_block)(&job->grad[g], at, n, grad[g], job->stream);
        }
        if (mode == FL_MODE_HESS)
            R(put_block)(&job->hess, at, n, hess, job->stream);
    }
    if (job->stream)
        fl_stream_end();
    partial->sum = R(fold)(sums);
}

#define POINTWISE_MODE(name, hard, operands, grads, is_long, mode)                                                     \
    static void R(name##_tile_##mode)(const void *job, int64_t first, int64_t count, fl_partial *partial,              \
                                      void *scratch) {                                                                 \
        (void)scratch;                                                                                                 \
        R(pointwise_tile)(job, first, count, partial, R(name), hard, operands, grads, mode, is_long);                  \
    }
#define POINTWISE_MODES(name, hard, operands, grads, is_long)                                                          \
    POINTWISE_MODE(name, hard, operands, grads, is_long, FL_MODE_VALUE)                                                \
    POINTWISE_MODE(name, hard, operands, grads, is_long, FL_MODE_GRAD)                                                 \
    POINTWISE_MODE(name, hard, operands, grads, is_long, FL_MODE_HESS)
#define POINTWISE(name, operands, grads) POINTWISE_MODES(name, NULL, operands, grads, 0)
#define POINTWISE_HARD(name, operands, grads) POINTWISE_MODES(name, R(name##_hard), operands, grads, 0)
#define POINTWISE_LONG(name, operands, grads) POINTWISE_MODES(name, NULL, operands, grads, 1)
#include "losses.def"
#undef POINTWISE_MODE
#undef POINTWISE_MODES
