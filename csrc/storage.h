/* Loads and stores: between elements as they lie in memory and blocks of `real`. Included once per compute type.
 * With half.h the only place that knows storage dtypes' bits. */

FL_INLINE real R(get)(int dtype, const char *from, int swapped) {
    uint64_t raw = fl_get_raw(from, (int)fl_itemsize(dtype), swapped);
    double wide;
    switch (dtype) {
    case FL_F32: return (real)r32_from_bits((uint32_t)raw);
    case FL_F64: memcpy(&wide, &raw, 8); return (real)wide;
    case FL_F16: return (real)fl_f16_to_f32((uint16_t)raw);
    case FL_BF16: return (real)fl_bf16_to_f32((uint16_t)raw);
    case FL_I8: return (real)(int8_t)raw;
    case FL_U8: return (real)(uint8_t)raw;
    case FL_I16: return (real)(int16_t)raw;
    case FL_U16: return (real)(uint16_t)raw;
    case FL_I32: return (real)(int32_t)raw;
    case FL_U32: return (real)(uint32_t)raw;
    case FL_I64: return (real)(int64_t)raw;
    default: return (real)raw;
    }
}

FL_INLINE void R(load_as)(int dtype, const char *from, int64_t stride, int swapped, int64_t n, real *to) {
    if (stride == fl_itemsize(dtype) && !swapped) {
        const int64_t item = fl_itemsize(dtype);
        int64_t i = 0;
        for (; i + 64 <= n; i += 64) {
            for (int64_t line = 0; line < 64 * item; line += 64)
                FL_PREFETCH(from + i * item + FL_AHEAD + line);
            FL_SIMD
            for (int64_t l = i; l < i + 64; l++)
                to[l] = R(get)(dtype, from + l * item, 0);
        }
        FL_SIMD
        for (int64_t l = i; l < n; l++)
            to[l] = R(get)(dtype, from + l * item, 0);
    } else {
        for (int64_t i = 0; i < n; i++)
            to[i] = R(get)(dtype, from + i * stride, swapped);
    }
}

/* n elements of any dtype and stride, converted. */
FL_NOINLINE void R(load)(int dtype, const char *from, int64_t stride, int swapped, int64_t n, real *to) {
#if REAL_BITS == 32
    if ((dtype == FL_F16 || dtype == FL_BF16) && stride == 2 && !swapped) {
        int64_t done = dtype == FL_F16 ? fl_widen_f16(from, n, to) : fl_widen_bf16(from, n, to);
        from += 2 * done, to += done, n -= done;
    }
#endif
    switch (dtype) {
    case FL_F32: R(load_as)(FL_F32, from, stride, swapped, n, to); break;
    case FL_F64: R(load_as)(FL_F64, from, stride, swapped, n, to); break;
    case FL_F16: R(load_as)(FL_F16, from, stride, swapped, n, to); break;
    case FL_BF16: R(load_as)(FL_BF16, from, stride, swapped, n, to); break;
    case FL_I8: R(load_as)(FL_I8, from, stride, swapped, n, to); break;
    case FL_U8: R(load_as)(FL_U8, from, stride, swapped, n, to); break;
    case FL_I16: R(load_as)(FL_I16, from, stride, swapped, n, to); break;
    case FL_U16: R(load_as)(FL_U16, from, stride, swapped, n, to); break;
    case FL_I32: R(load_as)(FL_I32, from, stride, swapped, n, to); break;
    case FL_U32: R(load_as)(FL_U32, from, stride, swapped, n, to); break;
    case FL_I64: R(load_as)(FL_I64, from, stride, swapped, n, to); break;
    default: R(load_as)(FL_U64, from, stride, swapped, n, to);
    }
}

/* Whether elements are halves that are widened LANES at a time by instructions made for it, and that. */
FL_INLINE int R(is_widened)(int dtype, int64_t stride, int swapped) {
    const int has = (dtype == FL_F16 && FL_WIDENS_F16) || (dtype == FL_BF16 && FL_WIDENS_BF16);
    return REAL_BITS == 32 && has && stride == 2 && !swapped;
}

FL_INLINE void R(widen_lanes)(int dtype, const char *from, real *to) {
#if REAL_BITS == 32
    if (dtype == FL_F16)
        fl_widen_f16(from, LANES, to);
    else
        fl_widen_bf16(from, LANES, to);
#else
    (void)dtype, (void)from, (void)to;
#endif
}

/* n elements at these distances in bytes, as float64. */
FL_INLINE void R(gather_as)(int dtype, const char *from, const int64_t *offset, int64_t n, int swapped, double *to) {
    for (int64_t i = 0; i < n; i++)
        to[i] = (double)R(get)(dtype, from + offset[i], swapped);
}

FL_NOINLINE void R(gather)(int dtype, const char *from, const int64_t *offset, int64_t n, int swapped, double *to) {
    switch (swapped ? -1 : dtype) {
    case REAL_DTYPE: R(gather_as)(REAL_DTYPE, from, offset, n, 0, to); break;
    case FL_F16: R(gather_as)(FL_F16, from, offset, n, 0, to); break;
    case FL_BF16: R(gather_as)(FL_BF16, from, offset, n, 0, to); break;
    default: R(gather_as)(dtype, from, offset, n, swapped, to);
    }
}

/* Whether elements at this address and stride can be read or written in place as reals. */
FL_INLINE int R(is_direct)(int dtype, const char *at, int64_t stride, int swapped) {
    return dtype == REAL_DTYPE && stride == (int64_t)sizeof(real) && !swapped &&
           ((uintptr_t)at & (sizeof(real) - 1)) == 0;
}

FL_INLINE uint64_t R(put_bits)(int dtype, real x) {
    double wide;
    uint64_t raw;
    switch (dtype) {
    case FL_F32: return r32_to_bits((float)x);
    case FL_F16: return fl_f32_to_f16((float)x);
    case FL_BF16: return fl_f32_to_bf16((float)x);
    default:
        wide = (double)x;
        memcpy(&raw, &wide, 8);
        return raw;
    }
}

FL_INLINE void R(store_as)(int dtype, char *to, int64_t stride, int swapped, int64_t n, const real *from) {
    if (stride == 2 && fl_itemsize(dtype) == 2 && !swapped) {
        FL_SIMD
        for (int64_t i = 0; i < n; i++) {
            uint16_t half = (uint16_t)R(put_bits)(dtype, from[i]);
            memcpy(to + 2 * i, &half, 2);
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            fl_put_raw(to + i * stride, R(put_bits)(dtype, from[i]), (int)fl_itemsize(dtype), swapped);
    }
}

FL_INLINE void R(store_halves)(int dtype, char *to, int64_t n, const real *from) {
    int64_t done = 0;
#if REAL_BITS == 32
    done = dtype == FL_F16 ? fl_narrow_f16(from, n, to) : fl_narrow_bf16(from, n, to);
#endif
    if (dtype == FL_F16)
        R(store_as)(FL_F16, to + 2 * done, 2, 0, n - done, from + done);
    else
        R(store_as)(FL_BF16, to + 2 * done, 2, 0, n - done, from + done);
}

/* n elements to a floating dtype, rounded once; `stream` writes past the cache where the layout allows: halves of whole words,
 * for a line written in both ways is slow. */
FL_NOINLINE void R(store)(int dtype, char *to, int64_t stride, int swapped, int64_t n, const real *from, int stream) {
    const int dense = stride == fl_itemsize(dtype) && !swapped;
    if (dense && stride == 2) {
        FL_ALIGNED(64) char halves[2 * FL_BLOCK];
        const int words = (uintptr_t)to % 4 == 0 && n % 2 == 0;
        for (int64_t m; stream && words && n > 0; from += m, to += 2 * m, n -= m) {
            m = fl_min(n, FL_BLOCK);
            R(store_halves)(dtype, halves, m, from);
            fl_stream(to, halves, 2 * (size_t)m);
        }
        R(store_halves)(dtype, to, n, from);
        return;
    }
    if (dense && dtype == REAL_DTYPE) {
        if (stream)
            fl_stream(to, (const char *)from, (size_t)n * sizeof(real));
        else
            memcpy(to, from, (size_t)n * sizeof(real));
        return;
    }
    switch (dtype) {
    case FL_F32: R(store_as)(FL_F32, to, stride, swapped, n, from); break;
    case FL_F16: R(store_as)(FL_F16, to, stride, swapped, n, from); break;
    case FL_BF16: R(store_as)(FL_BF16, to, stride, swapped, n, from); break;
    default: R(store_as)(FL_F64, to, stride, swapped, n, from);
    }
}

/* The same for n elements of an array from number `first` on, across its rows. A block that lies in memory as reals is
 * not copied: the address is the answer. `offset` is in bytes, from the array's first element. */
FL_INLINE const real *R(block_at)(const fl_array *array, int64_t offset, int64_t first, int64_t n, real *buffer) {
    fl_run_at here = fl_locate(array, first);
    real *to = buffer;
    if (here.run >= n && R(is_direct)(array->dtype, here.at + offset, here.stride, array->swapped))
        return (const real *)(const void *)(here.at + offset);
    for (;;) {
        int64_t m = fl_min(n, here.run);
        R(load)(array->dtype, here.at + offset, here.stride, array->swapped, m, to);
        to += m, first += m, n -= m;
        if (n == 0)
            return buffer;
        here = fl_locate(array, first);
    }
}
FL_INLINE const real *R(block)(const fl_array *array, int64_t first, int64_t n, real *buffer) {
    return R(block_at)(array, 0, first, n, buffer);
}

/* Where n elements from number `first` on lie in memory as reals, side by side; NULL where they do not. */
FL_INLINE char *R(direct_block)(const fl_array *array, int64_t first, int64_t n) {
    fl_run_at here = fl_locate(array, first);
    return here.run >= n && R(is_direct)(array->dtype, here.at, here.stride, array->swapped) ? here.at : NULL;
}

FL_INLINE void R(put_block_at)(const fl_array *array, int64_t offset, int64_t first, int64_t n, const real *from,
                               int stream) {
    while (n > 0) {
        fl_run_at here = fl_locate(array, first);
        int64_t m = fl_min(n, here.run);
        R(store)(array->dtype, here.at + offset, here.stride, array->swapped, m, from, stream);
        from += m, first += m, n -= m;
    }
}
FL_INLINE void R(put_block)(const fl_array *array, int64_t first, int64_t n, const real *from, int stream) {
    R(put_block_at)(array, 0, first, n, from, stream);
}
