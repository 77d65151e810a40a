/* One tile of a pointwise loss: block by block, operands in, kernel, outputs and sum out. */

typedef R(terms) R(pointwise_kernel)(R(operands) o, const real *param);

/* Sums in float64 over fixed lanes: 32 running sums, element i in number i % 32. */
enum { R(sum_lanes) = 32 };

FL_INLINE void R(add_block)(double *sums, const real *x, int64_t n) {
    int64_t body = n - n % R(sum_lanes);
    for (int64_t i = 0; i < body; i += R(sum_lanes)) {
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

/* The loop over elements from `first` to `end`. Nothing in it is an array, so that it becomes one vector loop. */
FL_INLINE void R(pointwise_loop)(R(pointwise_kernel) *kernel, int operands, int grads, int mode, int weighted,
                                 const real *const *in, int64_t first, int64_t end, const real *param, real scale,
                                 real *value, real (*grad)[FL_BLOCK], real *hess) {
    const real *a = in[0], *b = in[1], *c = in[operands > 2 ? 2 : 0], *d = in[operands > 3 ? 3 : 0], *w = in[operands];
    real *grad_a = grad[0], *grad_b = grad[1], *grad_c = grad[2];
    FL_SIMD
    for (int64_t i = first; i < end; i++) {
        R(operands) o = {a[i], b[i], c[i], d[i]};
        R(terms) terms = kernel(o, param);
        real factor = weighted ? w[i] * scale : scale;
        if (mode != FL_MODE_HESS)
            value[i] = weighted ? R(weigh)(w[i], terms.value) : terms.value;
        if (mode != FL_MODE_VALUE) {
            grad_a[i] = weighted ? R(weigh)(factor, terms.grad_a) : terms.grad_a * factor;
            if (grads > 1)
                grad_b[i] = weighted ? R(weigh)(factor, terms.grad_b) : terms.grad_b * factor;
            if (grads > 2)
                grad_c[i] = weighted ? R(weigh)(factor, terms.grad_c) : terms.grad_c * factor;
        }
        if (mode == FL_MODE_HESS)
            hess[i] = weighted ? R(weigh)(factor, terms.hess) : terms.hess * factor;
    }
}

/* A block, in steps between which memory is asked for what comes later. */
FL_INLINE void R(pointwise_block)(R(pointwise_kernel) *kernel, int operands, int grads, int mode, int weighted,
                                  const real *const *in, int64_t n, const real *param, real scale, real *value,
                                  real (*grad)[FL_BLOCK], real *hess) {
    enum { step = 128 };
    int64_t i = 0;
    for (; i + step <= n; i += step) {
        for (int k = 0; k < operands; k++)
            for (int line = 0; line < step * (int)sizeof(real); line += 64)
                FL_PREFETCH_NEAR((const char *)(in[k] + i) + FL_AHEAD_NEAR + line);
        R(pointwise_loop)(kernel, operands, grads, mode, weighted, in, i, i + step, param, scale, value, grad, hess);
    }
    R(pointwise_loop)(kernel, operands, grads, mode, weighted, in, i, n, param, scale, value, grad, hess);
}

FL_INLINE void R(pointwise_tile)(const fl_pointwise *job, int64_t first, int64_t count, fl_partial *partial,
                                 R(pointwise_kernel) *kernel, int operands, int grads, int mode) {
    FL_ALIGNED(64)
    real buffer[FL_MAX_OPERANDS][FL_BLOCK], value[FL_BLOCK], grad[FL_MAX_GRADS][FL_BLOCK], hess[FL_BLOCK];
    FL_ALIGNED(64) double sums[R(sum_lanes)] = {0};
    real param[FL_MAX_PARAMS], scale = (real)job->scale;
    for (int i = 0; i < FL_MAX_PARAMS; i++)
        param[i] = (real)job->param[i];
    for (int k = 0; k <= operands; k++) /* a single number for all: filled in once */
        if (job->operand[k].ndim == 0)
            R(load)(job->operand[k].dtype, job->operand[k].data, 0, job->operand[k].swapped, fl_min(count, FL_BLOCK),
                    buffer[k]);
    for (int64_t done = 0; done < count; done += FL_BLOCK) {
        int64_t n = fl_min(count - done, FL_BLOCK), at = first + done;
        const real *in[FL_MAX_OPERANDS];
        for (int k = 0; k <= operands; k++)
            in[k] = job->operand[k].ndim == 0 ? buffer[k] : R(block)(&job->operand[k], at, n, buffer[k]);
        if (job->weighted)
            R(pointwise_block)(kernel, operands, grads, mode, 1, in, n, param, scale, value, grad, hess);
        else
            R(pointwise_block)(kernel, operands, grads, mode, 0, in, n, param, scale, value, grad, hess);
        if (mode != FL_MODE_HESS && job->sum)
            R(add_block)(sums, value, n);
        if (mode != FL_MODE_HESS && job->value.data)
            R(put_block)(&job->value, at, n, value, 0);
        if (mode != FL_MODE_VALUE)
            for (int g = 0; g < grads; g++)
                R(put_block)(&job->grad[g], at, n, grad[g], job->stream);
        if (mode == FL_MODE_HESS)
            R(put_block)(&job->hess, at, n, hess, job->stream);
    }
    if (job->stream)
        fl_stream_end();
    partial->sum = R(fold)(sums);
}

#define POINTWISE_MODE(name, operands, grads, mode)                                                                    \
    static void R(name##_tile_##mode)(const void *job, int64_t first, int64_t count, fl_partial *partial,              \
                                      void *scratch) {                                                                 \
        (void)scratch;                                                                                                 \
        R(pointwise_tile)(job, first, count, partial, R(name), operands, grads, mode);                                 \
    }
#define POINTWISE(name, operands, grads)                                                                               \
    POINTWISE_MODE(name, operands, grads, FL_MODE_VALUE)                                                               \
    POINTWISE_MODE(name, operands, grads, FL_MODE_GRAD)                                                                \
    POINTWISE_MODE(name, operands, grads, FL_MODE_HESS)
#define ROWWISE(name)
#define SEQUENCE(name)
#include "losses.def"
#undef POINTWISE_MODE
